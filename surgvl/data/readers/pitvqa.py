"""PitVQA: questions on pituitary surgery, one text file and one image for each second (He et al., arXiv 2405.13949).

Layout: `images/video_01/00000.png`, `QA/video_01/00000.txt`. The text can also be made from PitVis' public csv files:
see pitvis.
"""

from pathlib import Path
from typing import ClassVar

from surgvl.data.readers.base import Found, Splits, find_videos
from surgvl.data.readers.pitvis_qa import ANSWERS, DROPPED_ANSWERS
from surgvl.data.readers.qa_tree import QuestionTree, TextFiles, text_folders

__all__ = ["ANSWERS", "PITVQA_SPLITS", "VAL", "PitVQA"]

VAL = (2, 6, 12, 13, 24)
# The paper reports on these five as validation; there is no further test set, so they are the test split here.
PITVQA_SPLITS: Splits = {
    "standard": {
        "train": tuple(f"video_{number:02d}" for number in range(1, 26) if number not in VAL),
        "test": tuple(f"video_{number:02d}" for number in VAL),
    }
}


class PitVQA(QuestionTree):
    """PitVQA's images and text tree; answers of the dropped kinds go, as in the published loader."""

    name: ClassVar[str] = "pitvqa"
    LICENCE: ClassVar[str] = "CC BY-NC-ND 4.0 (that of PitVis; check at the source)"
    SOURCE: ClassVar[str] = "arXiv 2405.13949; DOI 10.5522/04/27004666"
    PROCEDURE: ClassVar[str] = "endoscopic pituitary surgery"
    SPECIALTY: ClassVar[str] = "neurosurgery"
    SPLITS: ClassVar[Splits] = PITVQA_SPLITS
    FILES: ClassVar[TextFiles] = TextFiles(drop=DROPPED_ANSWERS, answers=ANSWERS)

    def folders(self, found: Found) -> dict[str, tuple[Path | None, Path | None]]:
        """`images/video_01` and the text of the same name."""
        pictures = find_videos(self.root / "images", r"video_\d+", found)
        texts = text_folders(self.text_root(found), r"(video_\d+)", found)
        return {name: (pictures.get(name), texts.get(name)) for name in pictures.keys() | texts.keys()}

    def text_root(self, found: Found) -> Path:
        """Where the folders of question files lie."""
        return self.root / "QA"
