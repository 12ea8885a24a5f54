"""PitVQA: questions on pituitary surgery, one text file and one image for each second (He et al., arXiv 2405.13949).

Layout: `images/video_01/00000.png`, `QA/video_01/00000.txt`. The text can also be made from PitVis' public csv files:
see pitvis.
"""

from typing import ClassVar

from surgvl.data.base import Found, Splits, VideoDataset, find_videos
from surgvl.data.pitvis_qa import ANSWERS, DROPPED_ANSWERS
from surgvl.data.qa_tree import read_qa_tree
from surgvl.data.spans import Track

__all__ = ["ANSWERS", "PITVQA_SPLITS", "VAL", "PitVQA"]

VAL = (2, 6, 12, 13, 24)
# The paper reports on these five as validation; there is no further test set, so they are the test split here.
PITVQA_SPLITS: Splits = {
    "standard": {
        "train": tuple(f"video_{number:02d}" for number in range(1, 26) if number not in VAL),
        "test": tuple(f"video_{number:02d}" for number in VAL),
    }
}


class PitVQA(VideoDataset):
    """PitVQA's images and text tree."""

    name: ClassVar[str] = "pitvqa"
    LICENCE: ClassVar[str] = "CC BY-NC-ND 4.0 (that of PitVis; check at the source)"
    SOURCE: ClassVar[str] = "arXiv 2405.13949; DOI 10.5522/04/27004666"
    PROCEDURE: ClassVar[str] = "endoscopic pituitary surgery"
    SPECIALTY: ClassVar[str] = "neurosurgery"
    SPLITS: ClassVar[Splits] = PITVQA_SPLITS

    def read(self, found: Found) -> None:
        """Read frame folders and questions; answers of the dropped kinds go, as in the published loader."""
        videos = find_videos(self.root / "images", r"video_\d+", found)
        trees = read_qa_tree(self.root / "QA", self.name, found, DROPPED_ANSWERS)
        for video_id in sorted(videos.keys() | trees.keys()):
            path = videos.get(video_id)
            info = self.open_video(found, video_id, path)
            if path is not None and info is None:
                continue
            qa = trees.get(video_id)
            end_s = max(qa["end_s"].to_pylist(), default=0.0) if qa is not None else 0.0
            if qa is None:
                found.problems.append(f"{video_id}: images but no questions")
            if info is None and end_s <= 0:
                continue
            self.add_video(found, video_id, path, info, {"question": Track([], end_s, whole=False)})
            if qa is not None:
                found.qa.append(qa)
