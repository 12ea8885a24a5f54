"""How far the critical view of safety is reached, as one number for each rated moment.

SurgVISTA (arXiv 2506.02692) measures so: Endoscapes by how many criteria are met, one of four classes; Cholec80-CVS by
the sum of three scores, one of six. The official measure is the average precision of each criterion (Murali et al.,
arXiv 2312.12429), which is task `cvs`; the two are not comparable.
"""

from surgvl.tasks.phase import Phase


class CvsScore(Phase):
    """One score for each rated moment."""

    name = "cvs_score"
    kind = "cvs_score"
