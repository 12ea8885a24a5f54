"""EndoVis18-VQA: questions on 14 sequences of robotic nephrectomy (Seenivasan et al., arXiv 2206.11053).

Layout: `seq_1/left_frames/frame000.png` (`left_fr` in some copies) and `seq_1/vqa/Classification/frame000_QA.txt`.
18 answers. The published loader reads 447 files and 2,769 questions in the sequences that papers report.
"""

from pathlib import Path

from surgvl.data.formats.qa_tree import QuestionTree, TextFiles, first_folder, text_folders
from surgvl.data.readers.base import Contents
from surgvl.data.splits import id_range

ANSWERS = (
    *("kidney", "Idle", "Grasping", "Retraction", "Tissue_Manipulation", "Tool_Manipulation", "Cutting"),
    *("Cauterization", "Suction", "Looping", "Suturing", "Clipping", "Staple", "Ultrasound_Sensing"),
    *("left-top", "right-top", "left-bottom", "right-bottom"),
)


class EndoVis18VQA(QuestionTree):
    """EndoVis18-VQA with closed answers.

    Attributes:
        TEXT: folder of the question files, below a sequence.
    """

    name = "endovis18_vqa"
    LICENCE = "that of the EndoVis 2018 challenge, for its participants"
    SOURCE = "arXiv 2206.11053; github.com/lalithjets/Surgical_VQA; images from the EndoVis challenge"
    PROCEDURE = "robotic partial nephrectomy (porcine)"
    SPECIALTY = "urology"
    # The papers report these three as validation; there is no other test set, so they are the test split here.
    SPLITS = {
        "standard": {
            "train": id_range("seq_{}", (2, 4), (6, 7), (9, 12), (14, 15)),
            "test": ("seq_1", "seq_5", "seq_16"),
        }
    }
    FILES = TextFiles(answers=ANSWERS)
    TEXT = "vqa/Classification"

    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """Pictures and question files of each sequence."""
        sequences = text_folders(self.root, r"(seq_\d+)", contents)
        return {
            name: (first_folder(path / "left_frames", path / "left_fr"), first_folder(path / self.TEXT))
            for name, path in sequences.items()
        }
