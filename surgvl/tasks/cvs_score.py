"""How many criteria of the critical view of safety are met, as one of four classes for each rated moment.

SurgVISTA (arXiv 2506.02692) measures Endoscapes so. The official measure is the average precision of each criterion
(Murali et al., arXiv 2312.12429), which is task `cvs`; the two are not comparable.
"""

from surgvl.tasks.phase import Phase


class CvsScore(Phase):
    """One number of criteria for each rated moment."""

    name = "cvs_score"
    kind = "cvs_score"
