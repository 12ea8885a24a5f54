"""EndoVis18-VQLA: EndoVis18-VQA's questions with a box around what the answer refers to (Bai et al., arXiv 2305.11692).

Layout: `seq_1/left_frames/frame000.png` and `seq_1/vqla/label/frame000_QA.txt`, lines `question|answer|x1,y1,x2,y2` in
pixels of the 1280x1024 picture, from 1; boxes in the manifest count from 0, as in the published loader. The 97 frames
of EndoVis17 that the authors also test on are not read: their file names could not be verified.
"""

from functools import partial

from surgvl.data.formats.qa_text import parse_pair
from surgvl.data.formats.qa_tree import TextFiles
from surgvl.data.readers.endovis18_vqa import ANSWERS, EndoVis18VQA


class EndoVis18VQLA(EndoVis18VQA):
    """The same sequences, split and answers, with boxes."""

    name = "endovis18_vqla"
    SOURCE = "arXiv 2305.11692; github.com/longbai1006/Surgical-VQLA; images from the EndoVis challenge"
    FILES = TextFiles(parse=partial(parse_pair, first_px=1), answers=ANSWERS)
    TEXT = "vqla/label"
