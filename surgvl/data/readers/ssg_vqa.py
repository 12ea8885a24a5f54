"""SSG-VQA: questions generated from scene graphs of CholecT45's frames (Yuan et al., arXiv 2312.10251).

Layout: `qa_txt/VID01/262.txt` (or `ssg-qa/VID01/262.txt`, as the archive unpacks) with CholecT45's
`data/VID01/000262.png` or CholecT50's `videos/VID01/`. The first two lines of a file list the visible objects; the
others are `question|answer`, `question|answer|centre` or `question|answer|one_hop.json|query_color|relation`, whose
fourth field is the type.
"""

from pathlib import Path

from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.qa_text import QuestionLine
from surgvl.data.formats.qa_tree import QuestionTree, TextFiles, text_folders
from surgvl.data.readers.base import Contents
from surgvl.data.readers.cholect50 import CholecT50

ANSWERS = (
    *("0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9", "False", "True", "abdominal_wall_cavity", "adhesion"),
    *("anatomy", "aspirate", "bipolar", "blood_vessel", "blue", "brown", "clip", "clipper", "coagulate", "cut"),
    *("cystic_artery", "cystic_duct", "cystic_pedicle", "cystic_plate", "dissect", "fluid", "gallbladder", "grasp"),
    *("grasper", "gut", "hook", "instrument", "irrigate", "irrigator", "liver", "omentum", "pack", "peritoneum"),
    *("red", "retract", "scissors", "silver", "specimen_bag", "specimenbag", "white", "yellow"),
)
_TRAIN = (
    *(73, 40, 62, 42, 29, 56, 50, 78, 66, 13, 52, 6, 36, 5, 12, 26, 68, 32, 49, 65, 47, 4, 23, 79, 51, 10, 57, 75),
    *(25, 14, 15, 8, 80, 27, 70),
)
_VAL = (18, 48, 1, 35, 31)
_TEST = (22, 74, 60, 2, 43)


def parse_line(line: str) -> QuestionLine:
    """Read a line; without a fourth field, the type follows from the keywords of the question.

    Raises:
        ValueError: the line has no question or no answer.
    """
    fields = [field.strip() for field in line.split("|")]
    if len(fields) < 2 or not fields[0] or not fields[1]:
        raise ValueError("is not question|answer|template|type")
    return QuestionLine(fields[0], fields[1], fields[3] if len(fields) > 3 else "")


class SSGVQA(QuestionTree):
    """SSG-VQA; its videos have CholecT50's ids."""

    name = "ssg_vqa"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "README of github.com/CAMMA-public/SSG-VQA"
    SOURCE = "arXiv 2312.10251; github.com/CAMMA-public/SSG-VQA; frames as for cholect50"
    PROCEDURE = CholecT50.PROCEDURE
    SPECIALTY = CholecT50.SPECIALTY
    SPLITS = {
        "standard": {
            split: tuple(f"VID{number:02d}" for number in numbers)
            for split, numbers in (("train", _TRAIN), ("val", _VAL), ("test", _TEST))
        }
    }
    FILES = TextFiles(header=2, parse=parse_line, answers=ANSWERS)

    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """Frames and question files of each video."""
        pictures = find_videos(self.root / "data", r"VID\d+", contents)
        pictures |= find_videos(self.root / "videos", r"VID\d+", contents)
        texts: dict[str, Path] = {}
        for name in ("qa_txt", "qa_txt/ssg-qa", "ssg-qa"):
            texts = texts or text_folders(self.root / name, r"(VID\d+)", contents)
        # There are no questions about CholecT50's five other videos.
        return {name: (pictures.get(name), texts[name]) for name in texts}
