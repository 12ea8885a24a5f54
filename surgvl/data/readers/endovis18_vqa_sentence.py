"""EndoVis18-VQA with answers in sentences, in `seq_1/vqa/Sentence/frame000_QA.txt` (arXiv 2206.11053)."""

from surgvl.data.formats.qa_tree import TextFiles
from surgvl.data.readers.endovis18_vqa import EndoVis18VQA


class EndoVis18VQASentence(EndoVis18VQA):
    """The same sequences and split; question types mark the answers as free text (`open_state`)."""

    name = "endovis18_vqa_sentence"
    FILES = TextFiles(free=True)
    TEXT = "vqa/Sentence"
