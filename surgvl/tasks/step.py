"""Step recognition: the step of each second, finer than phases, with the same metrics.

MultiBypass140 (Lavanchy et al., arXiv 2312.11250), PitVis (Das et al., arXiv 2409.01184), GraSP (Ayobi et al., arXiv
2401.11174).
"""

from surgvl.tasks.phase import Phase


class Step(Phase):
    """One step for each second of a video."""

    name = "step"
    kind = "step"
