"""Association of triplets with boxes: what became of each true and predicted box, as seven counts.

CholecTriplet2022 (Nwoye et al., arXiv 2302.06294) tells by them why a predicted triplet at a box is wrong: its place,
its identity, or both. ivtmetrics counts the same, with three faults that are not repeated here: a comparison changes
the true box; a switched or misplaced box does not count if its own true box is the first of the frame; and where the
other boxes of a frame are placed, those of triplets that it lacks are in no count.

Shape letters: M boxes, V videos, P and T predicted and true boxes of a frame.
"""

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
_SWITCH, _MISS = 2, 3


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
    if not len(frames):
        return found
    true_rows, rows = _by_frame(truth.frames, numbers), _by_frame(predicted.frames, numbers)
    for video, true, said in zip(videos[first], true_rows, rows, strict=True):
        said = said[np.argsort(-predicted.scores[said], kind="stable")]
        shared = iou(predicted.xywh[said][:, None], truth.xywh[true][None])
        found[video] += _of_frame(predicted.classes[said], truth.classes[true], shared, overlap)
    return found


def association_shares(counts: NDArray[np.generic]) -> Float64Array:
    """The share of each outcome, as published: [..., 7] -> float64 [..., 7]; NaN where there is no box."""
    values = np.asarray(counts, np.float64)
    total = values.sum(axis=-1, keepdims=True)
    shares: Float64Array = np.divide(values, total, out=np.full(values.shape, np.nan), where=total > 0)
    return shares


def _by_frame(frames: Int64Array, numbers: Int64Array) -> list[Int64Array]:
    """Rows of each frame in `numbers`, ascending."""
    order = np.argsort(frames, kind="stable")
    return np.split(order, np.searchsorted(frames[order], numbers[1:]))


def _of_frame(said: Int64Array, true: Int64Array, shared: Float64Array, overlap: float) -> Int64Array:
    """Counts of one frame, from classes [P] and [T] and the overlap of each pair [P, T]; the most certain first."""
    same, on = said[:, None] == true, shared >= overlap
    counts = np.zeros(len(ASSOCIATIONS), np.int64)
    left, free = np.ones(len(said), bool), np.ones(len(true), bool)
    for at, wanted in enumerate((same & on, same & (shared > 0), same, on, same)):
        for row in np.flatnonzero(left):
            fits = wanted[row] & free
            if at == _SWITCH:
                fits &= (on[row] & free).any()
            if fits.any():
                left[row] = False
                free[int(np.where(fits, shared[row], -1).argmax())] &= at == _MISS
        counts[at] = len(said) - left.sum() - counts.sum()
    counts[5:] = left.sum(), free.sum()
    return counts
