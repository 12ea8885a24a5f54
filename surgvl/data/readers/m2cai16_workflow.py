"""M2CAI16-workflow: 41 cholecystectomies with one of eight phases per frame (Twinanda et al., arXiv 1602.03012).

Layout: `train_dataset/workflow_video_01.mp4` with `workflow_video_01.txt` beside it (header, then rows `frame phase` at
25 fps from 0), and `test_dataset/test_workflow_video_01.mp4`. Files `*_timestamp.txt` and `*_pred.txt` lie there, too,
and are not labels. SurgVISTA renumbers the test videos 28 to 41 and validates on them; SurgRec takes the header's word
Phase for a ninth class. Patients: some of the videos from Strasbourg are in Cholec80, too; those from Munich are
described by Stauder et al. (arXiv 1610.09278). The numbers of videos are those of its README.
"""

from pathlib import Path

from surgvl.core.ontology import CHOLEC80_PHASES
from surgvl.data.formats.frame_rows import by_name, place_rows, read_frame_rows
from surgvl.data.formats.label_files import LabelFiles
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.readers.base import Contents
from surgvl.data.spans import Track
from surgvl.data.splits import id_range
from surgvl.video import VideoInfo

PHASES = ("TrocarPlacement", *CHOLEC80_PHASES)
_NAME = r"(?:test_)?workflow_video_\d+"


class M2cai16Workflow(LabelFiles):
    """M2CAI16-workflow as distributed by the challenge."""

    name = "m2cai16_workflow"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "its README"
    SOURCE = "arXiv 1602.03012, 1610.09278; by request at camma.unistra.fr/datasets"
    PROCEDURE = "laparoscopic cholecystectomy"
    SPECIALTY = "general surgery"
    FILE = "VIDEO.txt beside the video"
    CLASSES = {"phase": PHASES}
    # 27 and 14.
    SPLITS = {
        "standard": {
            "train": id_range("workflow_video_{:02d}", (1, 27)),
            "test": id_range("test_workflow_video_{:02d}", (1, 14)),
        }
    }

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """From the two folders, or from the folder itself."""
        videos: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for folder in (self.root / "train_dataset", self.root / "test_dataset", self.root):
            # Named so that they do not count as strange.
            find_files(folder, rf"({_NAME}_(?:timestamp|pred))\.txt", contents)
            videos |= find_videos(folder, _NAME, contents)
            labels |= find_files(folder, rf"({_NAME})\.txt", contents)
        return videos, labels

    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Phases."""
        return {"phase": place_rows(read_frame_rows(path, by_name(PHASES)), info, self.LABEL_FPS)}
