"""EndoVis18-VQA with answers in sentences, in `seq_1/vqa/Sentence/frame000_QA.txt` (arXiv 2206.11053)."""

from typing import ClassVar

from surgvl.data.readers.endovis18_vqa import EndoVis18VQA
from surgvl.data.readers.qa_tree import TextFiles


class EndoVis18VQASentence(EndoVis18VQA):
    """The same sequences and split; the types of its questions say that answers are free (`open_state`)."""

    name: ClassVar[str] = "endovis18_vqa_sentence"
    FILES: ClassVar[TextFiles] = TextFiles(free=True)
    TEXT: ClassVar[str] = "vqa/Sentence"
