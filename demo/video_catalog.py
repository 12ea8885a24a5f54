"""The videos that a page may name: those of the run by their manifest id, uploads by a random word.

A browser never sends a path that is opened, but for one case: an upload, which must lie in the upload folder.
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
# Later uploads push out the earliest; its file goes with the page's cache.
NUM_UPLOADS = 32
UPLOAD = "upload"


class Shelf:
    """Videos by id; methods may be called from several threads.

    Args:
        manifest: of the run; its test videos come first.

    Attributes:
        videos: those of the run.

    Raises:
        ConfigError: none of its videos has a file.
    """

    def __init__(self, manifest: Manifest) -> None:
        order = {"test": 0, "val": 1, "": 2, "train": 3}
        rows = sorted((row for row in manifest.videos if row.path), key=lambda row: order[row.split])
        if not rows:
            raise ConfigError("no video of this run has a file: convert a data set with videos")
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
        """The video of this id.

        Raises:
            DataError: neither a video of the run nor an upload that is still here.
        """
        with self._lock:
            found = self._known.get(video_id) or self._uploads.get(video_id)
        if found is None:
            raise DataError("this video is not here (any more): pick one from the list, or upload it again")
        return found

    def admit(self, path: Path, name: str, folder: Path) -> Video:
        """Take in an uploaded file after checking its place, size, kind and length.

        Args:
            path: where the upload lies.
            name: what the user calls it.
            folder: the only folder that uploads come from.

        Raises:
            DataError: it did not come from there, is not a video, too large or too long; the message names it as the
                user does.
        """
        name = re.sub(r"[^\w .()-]+", "_", Path(name).name)[:80] or UPLOAD
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise DataError(f"{name} did not come through the upload button: choose the file again")
        if path.stat().st_size > MAX_UPLOAD_BYTES:
            raise DataError(f"{name} is larger than {MAX_UPLOAD_BYTES >> 20} MB: cut it or scale it down first")
        try:
            info = video.probe(path)
        except DataError as error:
            # The reader speaks of its own path; the user knows a name.
            raise DataError(str(error).replace(str(path), name)) from error
        if info.duration_s > MAX_UPLOAD_S:
            limit = f"the limit is {MAX_UPLOAD_S / 60:.0f} minutes"
            raise DataError(f"{name} lasts {info.duration_s / 60:.0f} minutes and {limit}: cut out the part you want")
        found = Video(f"{UPLOAD}-{secrets.token_urlsafe(9)}", path, name, UPLOAD, info.duration_s)
        with self._lock:
            self._uploads[found.video_id] = found
            while len(self._uploads) > NUM_UPLOADS:
                self._uploads.popitem(last=False)
        return found
