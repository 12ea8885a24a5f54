"""Average precision of boxes with a class: instruments (detection), or triplets at their instrument (association).

A predicted box is a hit if it overlaps a true box of its class in its frame by an intersection over union of at least
0.5; each true box is hit once. AP is the mean of the highest precision at the eleven recalls 0, 0.1, ... 1 or above
(PASCAL VOC 2007: Everingham et al., IJCV 2010). CholecTriplet2022 (Nwoye et al., arXiv 2302.06294) uses it for both.

AP ranks all predictions by score. ivtmetrics' `Detection`, with which published figures were made, ranks them by frame,
so that its value depends on the order of the video; `ranked_by="frame"` reproduces it. Where a frame has several boxes
of a class, ivtmetrics also changes the boxes while it compares them: those figures can't be reproduced.

Shape letters: M boxes, V videos, K classes.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError

RankedBy = Literal["score", "frame"]
OVERLAP = 0.5


@dataclass(frozen=True)
class Boxes:
    """Boxes of many frames; coordinates in any unit, the same for truth and prediction.

    Attributes:
        frames: int [M], number of the frame, in the order of the video; no two videos share a number.
        videos: int [M], 0 ... V-1.
        classes: int [M], 0 ... K-1.
        xywh: float [M, 4], left, top, width, height.
        scores: float [M], higher is more certain; of true boxes it does not matter.

    Raises:
        DataError: lengths differ, a value is not finite, or a size is negative.
    """

    frames: Int64Array
    videos: Int64Array
    classes: Int64Array
    xywh: Float64Array
    scores: Float64Array

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if len(shape) != 1 or {each.shape for each in (self.videos, self.classes, self.scores)} != {shape}:
            raise DataError("frames, videos, classes and scores of boxes must be arrays [M] of equal length")
        if self.xywh.shape != (*shape, 4):
            raise DataError(f"{shape[0]} boxes need [{shape[0]}, 4] coordinates, got {list(self.xywh.shape)}")
        if not (np.isfinite(self.xywh).all() and np.isfinite(self.scores).all()):
            raise DataError("boxes and scores must be finite: leave out instances without a box")
        if (self.xywh[:, 2:] < 0).any():
            row = int((self.xywh[:, 2:] < 0).any(axis=1).argmax())
            raise DataError(f"box {row} has a negative size, {self.xywh[row].tolist()}: give left, top, width, height")


def iou(first: ArrayLike, second: ArrayLike) -> Float64Array:
    """Intersection over union of boxes x, y, w, h: [..., 4] and [..., 4] -> float64 [...]; 0 without an overlap."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - both
    found: Float64Array = np.divide(both, union, out=np.zeros(np.shape(both)), where=both > 0)
    return found


def hits(truth: Boxes, predicted: Boxes, overlap: float = OVERLAP) -> NDArray[np.bool_]:
    """Which predicted boxes are hits: bool [M].

    Of the boxes of a frame and class the most certain chooses first, among the true ones that are left, the one that it
    overlaps most; equal scores in the given order.
    """
    true_key, key = (np.stack([each.frames, each.classes], axis=1) for each in (truth, predicted))
    _, codes = np.unique(np.concatenate([true_key, key]), axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    true_code, code = codes[: len(true_key)], codes[len(true_key) :]
    by_code = np.argsort(true_code, kind="stable")
    start, end = (np.searchsorted(true_code[by_code], code, side=side) for side in ("left", "right"))
    found = np.zeros(len(code), bool)
    alone = (end - start == 1) & (np.bincount(code, minlength=int(codes.max(initial=0)) + 1)[code] == 1)
    found[alone] = iou(predicted.xywh[alone], truth.xywh[by_code[start[alone]]]) >= overlap
    taken = np.zeros(len(true_code), bool)
    for row in np.argsort(-predicted.scores, kind="stable"):
        if alone[row] or start[row] == end[row]:
            continue
        near = by_code[start[row] : end[row]]
        shared = np.where(taken[near], -1.0, iou(predicted.xywh[row], truth.xywh[near]))
        best = int(shared.argmax())
        if shared[best] >= overlap:
            found[row] = taken[near[best]] = True
    return found


def detection_average_precision(
    truth: Boxes, predicted: Boxes, num_classes: int, overlap: float = OVERLAP, ranked_by: RankedBy = "score"
) -> Float64Array:
    """Eleven-point AP per video and class.

    Args:
        truth: true boxes. For the AP over all frames, give both boxes the video 0.
        predicted: predicted boxes.
        num_classes: K.
        overlap: least intersection over union of a hit.
        ranked_by: `score`, or `frame` as ivtmetrics does: by frame, then by score.

    Returns:
        float64 [V, K]; NaN for classes that a video's truth lacks. ivtmetrics counts those that are predicted as 0.

    Raises:
        DataError: no true box, a class or video outside its range, or an unknown ranking.
    """
    if ranked_by not in get_args(RankedBy):
        raise DataError(f"boxes must be ranked by one of {', '.join(get_args(RankedBy))}, got {ranked_by!r}")
    if not len(truth.frames):
        raise DataError("no true box to score: check the split, and that its labels have boxes")
    for what, ids in (("class", np.concatenate([truth.classes, predicted.classes])), ("video", truth.videos)):
        if ids.min() < 0 or (what == "class" and ids.max() >= num_classes):
            raise DataError(f"{what} ids of boxes must be from 0, and classes below {num_classes}; got {ids.min()}")
    right = hits(truth, predicted, overlap)
    num_videos = int(max(truth.videos.max(), predicted.videos.max(initial=0))) + 1
    cells = truth.videos * num_classes + truth.classes
    wanted = np.bincount(cells, minlength=num_videos * num_classes)
    cell = predicted.videos * num_classes + predicted.classes
    rank = (-predicted.scores,) if ranked_by == "score" else (-predicted.scores, predicted.frames)
    order = np.lexsort((*rank, cell))
    found = np.full(num_videos * num_classes, np.nan)
    bounds = np.searchsorted(cell[order], np.arange(num_videos * num_classes + 1))
    for at in np.flatnonzero(wanted):
        found[at] = eleven_point(right[order[bounds[at] : bounds[at + 1]]], int(wanted[at]))
    return found.reshape(num_videos, num_classes)


def eleven_point(ranked: ArrayLike, num_true: int) -> float:
    """AP of ranked hits: bool [M], best first, of `num_true` that there are."""
    count = np.cumsum(np.asarray(ranked, np.float64))
    if not len(count):
        return 0.0
    recall, precision = count / num_true, count / np.arange(1, len(count) + 1)
    # Highest precision at this rank or later.
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(highest[np.searchsorted(recall, np.arange(11) / 10, side="left")].mean())
