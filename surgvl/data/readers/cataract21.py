"""Cataract-21: 21 cataract operations, one of twelve phases per frame (Primus et al., MMM 2018).

Layout: `training/case_01.mp4` with `training/case_01.csv` and `validation/case_18.mp4`, or `videos/` and `labels/`;
rows `frame,name` without a header, frames from 0 at 25 fps, names in German. SurgRec keeps all twelve; the data set's
page and SurgVISTA count Tonisieren and Antibiotikum as one, as `cataract21_merged` does; both papers take the
validation videos for test.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from surgvl.data.formats.frame_rows import by_name, place_rows, read_frame_rows
from surgvl.data.formats.label_files import LabelFiles
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents
from surgvl.data.spans import Track
from surgvl.data.splits import id_range
from surgvl.video import VideoInfo

PHASES = (
    "not_initialized",
    "Incision",
    "Viscoelasticum",
    "Rhexis",
    "Hydrodissektion",
    "Phako",
    "Irrigation-Aspiration",
    "Kapselpolishing",
    "Linsenimplantation",
    "Visco-Absaugung",
    "Tonisieren",
    "Antibiotikum",
)
_NAME = r"case_\d+"


class Cataract21(LabelFiles):
    """Cataract-21.

    Attributes:
        ALIASES: names in the files -> phases that they count as.
    """

    name = "cataract21"
    LICENCE = "CC BY-NC-SA 4.0; its page: for scientific research only"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "Primus et al., MMM 2018; ftp.itec.aau.at/datasets/ovid/cat-21"
    PROCEDURE = "cataract surgery"
    SPECIALTY = "ophthalmology"
    FILE = "VIDEO.csv beside the video, or in labels/,"
    CLASSES = {"phase": PHASES}
    ALIASES: ClassVar[Mapping[str, str]] = {}
    # 17 and 4; there is no third part.
    SPLITS = {"standard": {"train": id_range("case_{:02d}", (1, 17)), "test": id_range("case_{:02d}", (18, 21))}}

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """From either layout."""
        videos: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for folder in ("training", "validation", "videos", "frames", "labels"):
            videos |= find_videos(self.root / folder, _NAME, contents)
            labels |= find_files(self.root / folder, rf"({_NAME})\.csv", contents)
        return videos, labels

    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Phases."""
        names = by_name(self.CLASSES["phase"], self.ALIASES)
        return {"phase": place_rows(read_frame_rows(path, names), info, self.LABEL_FPS)}
