"""Cataract-21 with toning and antibiotics as one phase, as the data set's own page and SurgVISTA count them.

Layout: that of `cataract21`. The page (ftp.itec.aau.at/datasets/ovid/cat-21) lists ten phases, the last of which is
tonifying and antibiotics; the files call its parts Tonisieren and Antibiotikum. With `not_initialized`, as it calls
what is in no phase, these are the eleven classes of SurgVISTA's code (arXiv 2506.02692). Scores on them and on the
twelve classes of `cataract21` are not comparable.
"""

from surgvl.data.readers.cataract21 import PHASES, Cataract21

MERGED = "Tonisieren"


class Cataract21Merged(Cataract21):
    """Cataract-21 in eleven classes."""

    name = "cataract21_merged"
    CLASSES = {"phase": PHASES[:-1]}
    ALIASES = {"Antibiotikum": MERGED}
