"""Open-ended PitVQA: the videos, images and split of PitVQA with answers in sentences (arXiv 2502.14149).

Layout, as in the published loader: `images/video_01/00000.png`, `QA/<set of sentences>/video_01/00000.txt`; the text
can also be in `QA/video_01`. The published set has 745,972 questions about 101,803 images.
"""

from pathlib import Path

from surgvl.data.formats.qa_tree import TextFiles
from surgvl.data.readers.base import Contents
from surgvl.data.readers.pitvqa import PitVQA


class PitVQAOpen(PitVQA):
    """PitVQA with answers in sentences; question types mark them as free text (`open_step`)."""

    name = "pitvqa_open"
    LICENCE = "not stated for the text (code MIT); the images are CC BY-NC-ND 4.0"
    SOURCE = "arXiv 2502.14149; github.com/HRL-Mike/PitVQA-Plus; layout of its loader"
    FILES = TextFiles(free=True)

    def text_root(self, contents: Contents) -> Path:
        """The set of sentences below `QA`, or `QA` itself; of several, the first is read and the rest reported."""
        sets = sorted({path.parent for path in (self.root / "QA").glob("*/video_*") if path.is_dir()})
        if len(sets) > 1:
            names = ", ".join(path.name for path in sets[1:])
            contents.problems.append(f"of the sets of sentences, {sets[0].name} is read and not {names}")
        return sets[0] if sets else self.root / "QA"
