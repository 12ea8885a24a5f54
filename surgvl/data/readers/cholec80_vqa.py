"""Cholec80-VQA: questions on phase, tools and tool count in 40 of its videos (Seenivasan et al., arXiv 2206.11053).

Layout: `Classification/5/14400_QA.txt`, named by the frame at 25 fps, with Cholec80's own `videos/video05.mp4`
(preferred) or `cropped_image/5/14400.png`. As in the published loader, only frames whose number is a multiple of 100
are read. 13 answers.
"""

from pathlib import Path

from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.qa_tree import QuestionTree, TextFiles, text_folders
from surgvl.data.readers.base import Contents
from surgvl.data.readers.cholec80 import LABEL_FPS, Cholec80

VAL = (5, 11, 12, 17, 19, 26, 27, 31)
ANSWERS = (
    *("no", "calot triangle dissection", "yes", "1", "2", "gallbladder dissection", "clipping cutting"),
    *("gallbladder retraction", "0", "cleaning coagulation", "gallbladder packaging", "preparation", "3"),
)


class Cholec80VQA(QuestionTree):
    """Cholec80-VQA with closed answers; its videos have Cholec80's ids.

    Attributes:
        TEXT: folder of the question files.
    """

    name = "cholec80_vqa"
    LICENCE = "CC BY-NC-SA 4.0 (that of Cholec80; check at the source)"
    SOURCE = "arXiv 2206.11053; github.com/lalithjets/Surgical_VQA; videos as for cholec80"
    PROCEDURE = Cholec80.PROCEDURE
    SPECIALTY = Cholec80.SPECIALTY
    # The papers report these eight as validation; there is no other test set, so they are the test split here.
    SPLITS = {
        "standard": {
            "train": tuple(f"video{number:02d}" for number in range(1, 41) if number not in VAL),
            "test": tuple(f"video{number:02d}" for number in VAL),
        }
    }
    FILES = TextFiles(rate_fps=LABEL_FPS, every=100, answers=ANSWERS)
    TEXT = "Classification"

    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """Video or pictures, and question files, by number."""
        videos = find_videos(self.root / "videos", r"video\d+", contents)
        pictures, texts = (
            {f"video{int(number):02d}": path for number, path in text_folders(folder, r"(\d+)", contents).items()}
            for folder in (self.root / "cropped_image", self.root / self.TEXT)
        )
        seen = pictures | videos
        # There are no questions about Cholec80's other 40 videos.
        return {name: (seen.get(name), texts.get(name)) for name in pictures.keys() | texts.keys()}
