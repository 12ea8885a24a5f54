"""Cholec80-VQA with answers in sentences, in `Sentence/5/14400_QA.txt` (arXiv 2206.11053)."""

from surgvl.data.formats.qa_tree import TextFiles
from surgvl.data.readers.cholec80 import LABEL_FPS
from surgvl.data.readers.cholec80_vqa import Cholec80VQA


class Cholec80VQASentence(Cholec80VQA):
    """The same videos and split; question types mark the answers as free text (`open_count`)."""

    name = "cholec80_vqa_sentence"
    FILES = TextFiles(rate_fps=LABEL_FPS, every=100, free=True)
    TEXT = "Sentence"
