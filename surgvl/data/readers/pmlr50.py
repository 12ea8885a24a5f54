"""PmLR50: 50 laparoscopic liver resections with the Pringle manoeuvre, five stages per second (Guo et al., AAAI 2025).

Layout: `frames/01/00000000.jpg` (1 fps, numbers from 0) and `phase_annotations/01.txt` (header, then rows `frame id`);
`blocking_annotations` and `bbox_annotations` are not read. The authors' generator writes its validation list as
`1fpstest.pickle` and its test list as `1fpsinfer.pickle`; SurgVISTA calls `1fpstest.pickle` the test list, so that
its test videos may be the validation videos: protocol `surgvista_test_is_val`.
"""

from pathlib import Path

from surgvl.data.formats.frame_rows import by_id, by_name, place_rows, read_frame_rows
from surgvl.data.formats.label_files import LabelFiles
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.readers.base import Contents
from surgvl.data.spans import Track
from surgvl.data.splits import id_range
from surgvl.video import VideoInfo

PHASES = (
    "Preparation stage",
    "Knotting of the Foley catheter",
    "Procedure of the liver resection",
    "Release of the Foley catheter",
    "Postprocessing stage",
)
_TRAIN = id_range("{:02d}", (1, 33), (49, 50))
_VAL = id_range("{:02d}", (34, 37), (48, 48))


class PmLR50(LabelFiles):
    """PmLR50's stages."""

    name = "pmlr50"
    LICENCE = "not stated (code MIT); by request"
    LICENCE_FROM = "README of github.com/RascalGdd/PmNet"
    SOURCE = "Guo et al., AAAI 2025; by request at github.com/RascalGdd/PmNet"
    PROCEDURE = "laparoscopic liver resection"
    SPECIALTY = "general surgery"
    CLASSES = {"phase": PHASES}
    # 35, 5 and 10.
    SPLITS = {
        "standard": {"train": _TRAIN, "val": _VAL, "test": id_range("{:02d}", (38, 47))},
        "surgvista_test_is_val": {"train": _TRAIN, "test": _VAL},
    }
    FILE = "phase_annotations/VIDEO.txt"
    LABEL_FPS = 1.0

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """Frame folders or videos, and stages."""
        videos = find_videos(self.root / "frames", r"\d+", contents)
        videos |= find_videos(self.root / "videos", r"\d+", contents)
        return videos, find_files(self.root / "phase_annotations", r"(\d+)\.txt", contents)

    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Stages, as phases."""
        rows = read_frame_rows(path, by_id(PHASES) | by_name(PHASES))
        return {"phase": place_rows(rows, info, self.LABEL_FPS)}
