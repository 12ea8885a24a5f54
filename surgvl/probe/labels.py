"""Labels of a probe at the centre of a clip: its phase, instruments, verbs and targets.

Instruments, verbs and targets are the parts of the triplets (CholecT50, Nwoye et al., arXiv 2109.03223); each of them
is a multi-label problem. Shapes: N clips, C classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.ontology import INSTRUMENTS, TARGETS, VERBS

PARTS: dict[str, tuple[str, ...]] = {"instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS}
HEADS = ("phase", *PARTS)
Truth = dict[str, NDArray[np.int64]]


def truth_of(
    phases: Sequence[Sequence[str]],
    triplets: Sequence[Sequence[str]],
    annotated: Sequence[bool],
    phase_names: Sequence[str],
) -> Truth:
    """Labels as numbers.

    Args:
        phases: [N], the phases at each clip: one, or none if it is unknown.
        triplets: [N], the triplets at each clip, `instrument,verb,target`.
        annotated: [N], whether the clip's video has triplets; if so, a clip without a triplet shows no action.
        phase_names: class names of the phases.

    Returns:
        `phase` int64 [N], -1 where unknown; `instrument`, `verb`, `target` int64 [N, C] of 0 and 1, -1 where unknown.

    Raises:
        DataError: two phases at once, or a triplet with an unknown part.
    """
    number = {name: at for at, name in enumerate(phase_names)}
    truth: Truth = {"phase": np.full(len(phases), -1, np.int64)}
    for row, names in enumerate(phases):
        if len(names) > 1:
            raise DataError(f"one moment is in two phases, {' and '.join(names)}: correct the segments")
        if names:
            truth["phase"][row] = number[names[0]]
    known = np.asarray(annotated, bool)
    for part, names in PARTS.items():
        truth[part] = np.where(known[:, None], np.zeros((len(triplets), len(names)), np.int64), -1)
    for row, labels in enumerate(triplets):
        for label in labels:
            for (part, names), name in zip(PARTS.items(), _parts(label), strict=True):
                truth[part][row, names.index(name)] = 1
    return truth


def _parts(label: str) -> list[str]:
    parts = label.split(",")
    if len(parts) != len(PARTS) or any(part not in names for part, names in zip(parts, PARTS.values(), strict=True)):
        raise DataError(f"triplet {label!r} is not `instrument,verb,target` in CholecT50's words: correct the segments")
    return parts
