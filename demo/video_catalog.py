"""The videos a page can refer to: those of the run by their manifest id, uploads by a random id.

No path sent by a browser is ever opened, except that of an upload, which must lie in the upload folder.
"""

import re
import secrets
import threading
from collections import OrderedDict
from pathlib import Path

from surgvl import video
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.demo.schemas import Video

MAX_UPLOAD_BYTES = 200 << 20
MAX_UPLOAD_S = 30 * 60.0
# Further uploads evict the earliest; Gradio's cache deletes its file.
NUM_UPLOADS = 32
UPLOAD = "upload"


class VideoCatalog:
    """Videos by id; safe to use from several threads.

    Args:
        manifest: manifest of the run; its test videos are listed first.

    Attributes:
        videos: the videos of the run.

    Raises:
        ConfigError: none of the videos has a file.
    """

    def __init__(self, manifest: Manifest) -> None:
        order = {"test": 0, "val": 1, "": 2, "train": 3}
        rows = sorted((row for row in manifest.videos if row.path), key=lambda row: order[row.split])
        if not rows:
            raise ConfigError("no video of this run has a file: use a manifest whose videos have paths")
        self.videos = [
            Video(
                video_id=row.video_id,
                path=manifest.root / row.path,
                title=row.video_id,
                split=row.split,
                duration_s=row.duration_s,
                source=row.source,
                procedure=row.procedure,
            )
            for row in rows
        ]
        self._known = {each.video_id: each for each in self.videos}
        self._uploads: OrderedDict[str, Video] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, video_id: str) -> Video:
        """The video with this id.

        Raises:
            DataError: neither a video of the run nor an upload that is still available.
        """
        with self._lock:
            found = self._known.get(video_id) or self._uploads.get(video_id)
        if found is None:
            raise DataError("this video is not available: pick one from the list, or upload it again")
        return found

    def add_upload(self, path: Path, name: str, folder: Path) -> Video:
        """Add an uploaded file after checking its location, size, type and duration.

        Args:
            path: the uploaded file.
            name: its name on the user's machine.
            folder: the only folder uploads are accepted from.

        Raises:
            DataError: it lies elsewhere, is not a video, or is too large or too long; the message uses the user's
                name for it.
        """
        name = re.sub(r"[^\w .()-]+", "_", Path(name).name)[:80] or UPLOAD
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise DataError(f"{name} did not come through the upload button: choose the file again")
        if path.stat().st_size > MAX_UPLOAD_BYTES:
            raise DataError(f"{name} is larger than {MAX_UPLOAD_BYTES >> 20} MB: trim it or reduce its resolution")
        try:
            info = video.probe(path)
        except DataError as error:
            # The message has the server's path; the user knows only the name.
            raise DataError(str(error).replace(str(path), name)) from error
        if info.duration_s > MAX_UPLOAD_S:
            limit = f"the limit is {MAX_UPLOAD_S / 60:.0f} minutes"
            raise DataError(f"{name} is {info.duration_s / 60:.0f} minutes long and {limit}: trim it first")
        found = Video(f"{UPLOAD}-{secrets.token_urlsafe(9)}", path, name, UPLOAD, info.duration_s)
        with self._lock:
            self._uploads[found.video_id] = found
            while len(self._uploads) > NUM_UPLOADS:
                self._uploads.popitem(last=False)
        return found
