"""Association of triplets with boxes: what became of each true and predicted box, as seven counts.

CholecTriplet2022 (Nwoye et al., arXiv 2302.06294) tells by them why a predicted triplet at a box is wrong: its place,
its identity, or both. ivtmetrics counts the same, with three faults that are not repeated here: a comparison changes
the true box; a switched or misplaced box does not count if its own true box is the first of the frame; and where the
other boxes of a frame are placed, those of triplets that it lacks are in no count.

Shape letters: M boxes, V videos, P and T predicted and true boxes of a frame.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.metrics.detection import OVERLAP, Boxes, iou

ASSOCIATIONS = {
    "lm": "localized and matched: on a true box of the triplet",
    "plm": "partially localized and matched: touches a true box of the triplet",
    "ids": "identity switch: on the true box of another triplet, its own is elsewhere in the frame",
    "idm": "identity miss: on a true box, but its triplet is none that is left in the frame",
    "mil": "missed localization: its triplet is in the frame, but it touches no true box of it",
    "rfp": "remaining false positive",
    "rfn": "remaining false negative: a true box that no predicted one stands for",
}
"""The outcomes, in the order in which they are sought; a pair of boxes is in one of the first five."""
_MISS = 3


def association_counts(truth: Boxes, predicted: Boxes, overlap: float = OVERLAP) -> Int64Array:
    """Boxes of each outcome.

    Outcomes are sought one after the other, each for the predicted boxes that are left, the most certain first. A true
    box is used up by all but `idm`, so that it may be a remaining false negative as well.

    Args:
        truth: true boxes, whose classes are triplets.
        predicted: predicted boxes.
        overlap: least intersection over union of a box that is "on" another; one that "touches" has any.

    Returns:
        int64 [V, 7], in the order of `ASSOCIATIONS`.

    Raises:
        DataError: a frame is in two videos.
    """
    frames = np.concatenate([truth.frames, predicted.frames])
    videos = np.concatenate([truth.videos, predicted.videos])
    numbers, first, at = np.unique(frames, return_index=True, return_inverse=True)
    if (videos != videos[first][at]).any():
        raise DataError("a frame of boxes is in two videos: number the frames of all videos without repeats")
    found = np.zeros((int(videos.max(initial=-1)) + 1, len(ASSOCIATIONS)), np.int64)
    true, said = np.argsort(truth.frames, kind="stable"), np.lexsort((-predicted.scores, predicted.frames))
    # All pairs of a predicted and a true box of one frame, in the order of the predicted ones.
    start, end = (np.searchsorted(truth.frames[true], predicted.frames[said], side=side) for side in ("left", "right"))
    pairs = np.cumsum(end - start) - (end - start)
    row = np.repeat(np.arange(len(said)), end - start)
    other = true[start[row] + np.arange(len(row)) - pairs[row]]
    shared = iou(predicted.xywh[said[row]], truth.xywh[other]).tolist()
    same = (predicted.classes[said[row]] == truth.classes[other]).tolist()
    num_true, num_said = (
        np.bincount(np.searchsorted(numbers, each.frames), minlength=len(numbers)).tolist()
        for each in (truth, predicted)
    )
    pair = 0
    for video, P, T in zip(videos[first].tolist(), num_said, num_true, strict=True):
        rows = [slice(at, at + T) for at in range(pair, pair + P * T, T or 1)]
        own = [same[each] for each in rows] or [[]] * P
        found[video] += _of_frame(own, [shared[each] for each in rows] or [[]] * P, T, overlap)
        pair += P * T
    return found


def association_shares(counts: NDArray[np.generic]) -> Float64Array:
    """The share of each outcome, as published: [..., 7] -> float64 [..., 7]; NaN where there is no box."""
    values = np.asarray(counts, np.float64)
    total = values.sum(axis=-1, keepdims=True)
    shares: Float64Array = np.divide(values, total, out=np.full(values.shape, np.nan), where=total > 0)
    return shares


def _of_frame(same: Sequence[Sequence[bool]], shared: Sequence[Sequence[float]], T: int, overlap: float) -> list[int]:
    """Counts of one frame, from the class and the overlap of each pair [P][T]; the most certain first."""
    counts = [0] * len(ASSOCIATIONS)
    left, free = list(range(len(same))), list(range(T))
    for at in range(5):
        for row in list(left):
            own = [k for k in free if same[row][k]]
            on = [k for k in free if shared[row][k] >= overlap]
            touched = [k for k in own if shared[row][k] > 0]
            fits = ([k for k in own if k in on], touched, own if on else [], on, own)[at]
            if fits:
                counts[at] += 1
                left.remove(row)
                if at != _MISS:
                    free.remove(max(fits, key=lambda k: (shared[row][k], -k)))
    counts[5:] = len(left), len(free)
    return counts
