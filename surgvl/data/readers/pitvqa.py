"""PitVQA: questions on pituitary surgery, a text file and an image for each second (He et al., arXiv 2405.13949).

Layout: `images/video_01/00000.png`, `QA/video_01/00000.txt`. The text can also be generated from PitVis' public CSV
files: see `surgvl.data.readers.pitvis`.
"""

from pathlib import Path

from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.pitvis_qa import ANSWERS, DROPPED_ANSWERS
from surgvl.data.formats.qa_tree import QuestionTree, TextFiles, text_folders
from surgvl.data.readers.base import Contents
from surgvl.data.splits import Splits

VAL = (2, 6, 12, 13, 24)
# The paper reports these five as validation; there is no other test set, so they are the test split here.
PITVQA_SPLITS: Splits = {
    "standard": {
        "train": tuple(f"video_{number:02d}" for number in range(1, 26) if number not in VAL),
        "test": tuple(f"video_{number:02d}" for number in VAL),
    }
}


class PitVQA(QuestionTree):
    """PitVQA's images and question files; the answers that the published loader drops are dropped."""

    name = "pitvqa"
    LICENCE = "CC BY-NC-ND 4.0 (that of PitVis; check at the source)"
    SOURCE = "arXiv 2405.13949; DOI 10.5522/04/27004666"
    PROCEDURE = "endoscopic pituitary surgery"
    SPECIALTY = "neurosurgery"
    SPLITS = PITVQA_SPLITS
    FILES = TextFiles(drop=DROPPED_ANSWERS, answers=ANSWERS)

    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """`images/video_01`, and the question files of the same name."""
        pictures = find_videos(self.root / "images", r"video_\d+", contents)
        texts = text_folders(self.text_root(contents), r"(video_\d+)", contents)
        return {name: (pictures.get(name), texts.get(name)) for name in pictures.keys() | texts.keys()}

    def text_root(self, contents: Contents) -> Path:
        """The folder with the folders of question files."""
        return self.root / "QA"
