"""Small pictures of recordings, kept so that a frame is decoded once and not whenever a page opens.

A picture belongs to the content of a file: it outlives a rename and goes when the recording is removed. The folder is a
cache: it may be deleted at any time, and beyond a size the pictures that were written first are dropped.
"""

import contextlib
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from surgvl.core.files import atomic

# Some 30,000 pictures of 160 pixels: those of a few hundred recordings and their moments.
MAX_BYTES = 256 << 20
# Pictures that are written between two looks at the size.
PAUSE = 500


class Thumbnails:
    """The folder of an archive's pictures; thread-safe.

    Args:
        folder: created when the first picture is kept.
        max_bytes: size of all pictures together.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._num_written = 0

    def get(self, content: str, time_s: float, height_px: int, make: Callable[[], bytes]) -> bytes:
        """The picture of a moment; it is made and kept if there is none.

        Args:
            content: hash of the recording's content.
            time_s: of the moment, to the hundredth.
            height_px: of the picture.
            make: returns it as JPEG.
        """
        path = self.folder / f"{content}-{time_s:.2f}-{height_px}.jpg"
        with contextlib.suppress(OSError):
            return path.read_bytes()
        image = make()
        # A full disk costs the cache, not the picture.
        with self._lock, contextlib.suppress(OSError):
            with atomic(path) as temporary:
                temporary.write_bytes(image)
            self._num_written += 1
            if self._num_written % PAUSE == 0:
                self._trim()
        return image

    def settle(self, contents: Collection[str]) -> None:
        """Drop the pictures of all other contents, and the oldest beyond the size."""
        with self._lock:
            for path in self.folder.glob("*.jpg"):
                if path.name.partition("-")[0] not in contents:
                    path.unlink(missing_ok=True)
            self._trim()

    def _trim(self) -> None:
        found: list[tuple[int, int, Path]] = []
        for path in self.folder.glob("*.jpg"):
            # Another process may just have dropped it.
            with contextlib.suppress(FileNotFoundError):
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size, path))
        left = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if left <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            left -= size
