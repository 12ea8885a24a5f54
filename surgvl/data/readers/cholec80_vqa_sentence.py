"""Cholec80-VQA with answers in sentences, in `Sentence/5/14400_QA.txt` (arXiv 2206.11053)."""

from typing import ClassVar

from surgvl.data.readers.cholec80 import LABEL_FPS
from surgvl.data.readers.cholec80_vqa import Cholec80VQA
from surgvl.data.readers.qa_tree import TextFiles


class Cholec80VQASentence(Cholec80VQA):
    """The same videos and split; the types of its questions say that answers are free (`open_count`)."""

    name: ClassVar[str] = "cholec80_vqa_sentence"
    FILES: ClassVar[TextFiles] = TextFiles(rate_fps=LABEL_FPS, every=100, free=True)
    TEXT: ClassVar[str] = "Sentence"
