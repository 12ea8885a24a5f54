"""CATARACTS, steps of the 2020 challenge: 50 cataract operations, one of 19 steps per frame.

Al Hajj et al., Medical Image Analysis 2019 (the videos); the steps came with the CATARACTS 2020 challenge.

Layout: `videos/micro/train01.mp4` and `ground_truth/CATARACTS_2020/train_gt/train01.csv` (also `dev_gt`, `test_gt`):
header, then rows `frame,step`, frames from 1 at the rate of the video, steps from 0. Labels may end before the video.
"""

from pathlib import Path

from surgvl.data.formats.frame_rows import by_id, by_name, place_rows, read_frame_rows
from surgvl.data.formats.label_files import LabelFiles
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.readers.base import Contents
from surgvl.data.spans import Track
from surgvl.data.splits import id_range
from surgvl.video import VideoInfo

STEPS = (
    "Idle",
    "Toric Marking",
    "Implant Ejection",
    "Incision",
    "Viscodilatation",
    "Capsulorhexis",
    "Hydrodissection",
    "Nucleus Breaking",
    "Phacoemulsification",
    "Vitrectomy",
    "Irrigation/Aspiration",
    "Preparing Implant",
    "Manual Aspiration",
    "Implantation",
    "Positioning",
    "OVD Aspiration",
    "Suturing",
    "Sealing Control",
    "Wound Hydratation",
)


class Cataracts(LabelFiles):
    """The steps of CATARACTS."""

    name = "cataracts"
    LICENCE = "as stated by IEEE DataPort"
    SOURCE = "DOI 10.1016/j.media.2018.11.008; DOI 10.21227/ac97-8m18"
    PROCEDURE = "cataract surgery"
    SPECIALTY = "ophthalmology"
    CLASSES = {"step": STEPS}
    # 25, 5 and 20: five of the test videos are the challenge's development set.
    SPLITS = {
        "standard": {
            "train": id_range("train{:02d}", (1, 25)),
            "val": ("test01", "test07", "test14", "test16", "test19"),
            "test": id_range("test{:02d}", (2, 6), (8, 13), (15, 15), (17, 18), (20, 25)),
        }
    }
    FIRST = (1, 0)
    LABEL_FPS = 30.0
    FILE = "train_gt/VIDEO.csv (or dev_gt, test_gt) in ground_truth/CATARACTS_2020/"
    WHAT = "step"

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """Videos of the microscope, and steps."""
        videos = find_videos(self.root / "videos" / "micro", r"(?:train|test)\d+", contents)
        labels: dict[str, Path] = {}
        for subset in ("train_gt", "dev_gt", "test_gt"):
            folder = self.root / "ground_truth" / "CATARACTS_2020" / subset
            labels |= find_files(folder, r"((?:train|test)\d+)\.csv", contents)
        return videos, labels

    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Steps."""
        rows = read_frame_rows(path, by_id(STEPS) | by_name(STEPS), "step")
        return {"step": place_rows(rows, info, self.LABEL_FPS, first=1)}
