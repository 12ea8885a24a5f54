"""Gesture recognition: the gesture of each moment of a trial.

Accuracy, edit score and F1@overlap are the scores of JIGSAWS and SAR-RARP50 (Ahmidi et al., IEEE TBME 2017; Lea et al.,
arXiv 1611.05267). F1@overlap is published in two ways: from the segments of all trials together, as MS-TCN does, and as
a mean over trials; both are here.
"""

from typing import ClassVar

import numpy as np

from surgvl.core.arrays import Int64Array
from surgvl.metrics import temporal
from surgvl.metrics.classify import Average, over_videos
from surgvl.tasks.phase import OVERLAPS, Phase

_PER_TRIAL = "segments with at least this overlap in per cent are hits, F1 of each trial, mean over trials"


class Gesture(Phase):
    """One gesture for each moment of a trial."""

    name = "gesture"
    kind = "gesture"
    MAIN: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "macro_f1",
        "edit",
        *(f"segment_f1_{100 * overlap:.0f}_trial" for overlap in OVERLAPS),
    )
    PROTOCOLS: ClassVar[dict[str, str]] = Phase.PROTOCOLS | dict.fromkeys(MAIN[3:], _PER_TRIAL)

    def measure(
        self, truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int
    ) -> dict[str, Average]:
        """The metrics of phases, and F1@overlap by trial; rows are ordered by video and time."""
        edges = np.flatnonzero(np.diff(videos)) + 1
        pairs = zip(np.split(truth, edges), np.split(predicted, edges), strict=True)
        f1 = np.stack([temporal.segment_f1(temporal.segment_counts(*pair, OVERLAPS)) for pair in pairs])
        found = super().measure(truth, predicted, videos, num_classes)
        return found | {
            f"segment_f1_{100 * each:.0f}_trial": over_videos(f1[:, at]) for at, each in enumerate(OVERLAPS)
        }
