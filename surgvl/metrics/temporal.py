"""Temporal metrics: smoothing, segments, edit score and segmental F1.

Edit score and F1@overlap follow Lea et al. (arXiv 1611.05267): the first compares the order of segments, the second
requires each predicted segment to overlap a true one of its class. Unlike frame metrics, both penalise
over-segmentation.

Shape letters: T frames of one video in time order, N rows of many videos, C classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import DataError
from surgvl.metrics.average_precision import rows_of


class Segments(NamedTuple):
    """Runs of equal labels: label int [S], first frame int [S], frame after the last int [S]."""

    labels: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def smooth(
    scores: ArrayLike, times_s: ArrayLike, videos: ArrayLike, window_s: float, causal: bool
) -> NDArray[np.float64]:
    """Moving average of scores over time within each video.

    Args:
        scores: [N, C].
        times_s: [N], seconds; rows in any order.
        videos: int [N], 0 ... V-1.
        window_s: length of the window, seconds; 0: no smoothing.
        causal: average over (t - window, t], as an online system must, instead of [t - window / 2, t + window / 2].

    Returns:
        float64 [N, C] in the order of the input.

    Raises:
        DataError: a negative window, or lengths that differ.
    """
    values, times = np.asarray(scores, np.float64), np.asarray(times_s, np.float64)
    if not window_s >= 0:
        raise DataError(f"the smoothing window must be >= 0 s, got {window_s}")
    if times.shape != (len(values),):
        raise DataError(f"times of shape {times.shape} for {len(values)} rows: give one per row")
    if window_s == 0:
        return values
    found = np.empty_like(values)
    for rows in rows_of(videos, len(values)):
        rows = rows[np.argsort(times[rows], kind="stable")]
        time = times[rows]
        slack_s = 1e-6
        if causal:
            low = np.searchsorted(time, time - window_s + slack_s, side="right")
            high = np.searchsorted(time, time + slack_s, side="right")
        else:
            low = np.searchsorted(time, time - window_s / 2 - slack_s, side="left")
            high = np.searchsorted(time, time + window_s / 2 + slack_s, side="right")
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values[rows], axis=0)])
        found[rows] = (sums[high] - sums[low]) / (high - low)[:, None]
    return found


def segments(labels: ArrayLike) -> Segments:
    """Segments of a label sequence int [T], in order; none for an empty sequence."""
    array = np.asarray(labels, np.int64)
    if not len(array):
        empty = np.zeros(0, np.int64)
        return Segments(empty, empty, empty)
    edges = np.flatnonzero(array[1:] != array[:-1]) + 1
    start = np.concatenate([[0], edges])
    return Segments(array[start], start, np.concatenate([edges, [len(array)]]))


def edit_score(truth: ArrayLike, predicted: ArrayLike) -> float:
    """1 minus the Levenshtein distance between segment orders over the longer length; in [0, 1].

    Args:
        truth: int [T]; frames with -1 are ignored in both.
        predicted: int [T].

    Raises:
        DataError: lengths differ, or no frame is labelled.
    """
    a, b = (segments(labels).labels for labels in _labelled(truth, predicted))
    before = np.arange(len(b) + 1)
    steps = np.arange(len(b) + 1)
    for at, label in enumerate(a):
        # Deletions and substitutions at once; insertions as a running minimum along the row.
        row = np.concatenate([[at + 1], np.minimum(before[1:] + 1, before[:-1] + (b != label))])
        before = np.minimum.accumulate(row - steps) + steps
    return 1 - float(before[-1]) / max(len(a), len(b))


def segment_counts(truth: ArrayLike, predicted: ArrayLike, overlap: ArrayLike) -> NDArray[np.int64]:
    """True positive, false positive and missed segments of one video: int64 [..., 3].

    A predicted segment is correct if its largest intersection over union with a true segment of its class, one not
    matched by an earlier prediction, is at least `overlap`. MS-TCN (Abu Farha and Gall, arXiv 1903.01945) counts so,
    and sums the counts over videos before `segment_f1`.

    Args:
        truth: int [T]; frames with -1 are ignored in both.
        predicted: int [T].
        overlap: one or several [...] in (0, 1], usually 0.10, 0.25 and 0.50.

    Raises:
        DataError: lengths differ, or no frame is labelled.
    """
    true, guess = (segments(labels) for labels in _labelled(truth, predicted))
    both = np.minimum(guess.end[:, None], true.end) - np.maximum(guess.start[:, None], true.start)
    union = np.maximum(guess.end[:, None], true.end) - np.minimum(guess.start[:, None], true.start)
    ratio = np.where(guess.labels[:, None] == true.labels, both / union, -1.0)
    best, highest = ratio.argmax(axis=1), ratio.max(axis=1)
    # Of several predictions that match one true segment the first counts, so count the matched true segments.
    matched = [len(set(best[highest >= each].tolist())) for each in np.ravel(overlap)]
    right = np.reshape(np.array(matched, np.int64), np.shape(overlap))
    return np.stack([right, len(guess.labels) - right, len(true.labels) - right], axis=-1)


def segment_f1(counts: ArrayLike) -> NDArray[np.float64]:
    """F1 from segment counts, summed over videos as desired: [..., 3] -> [...]."""
    right, wrong, missed = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    below = 2 * right + wrong + missed
    found: NDArray[np.float64] = np.divide(2 * right, below, out=np.full(np.shape(below), np.nan), where=below > 0)
    return found


def _labelled(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b = np.asarray(truth), np.asarray(predicted)
    if a.ndim != 1 or a.shape != b.shape:
        raise DataError(
            f"truth of shape {a.shape} and prediction of shape {b.shape}: give two sequences of equal length"
        )
    kept = a >= 0
    if not kept.any():
        raise DataError("no frame is labelled: check the labels of this video")
    return a[kept], b[kept]
