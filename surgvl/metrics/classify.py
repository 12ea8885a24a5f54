"""Metrics of one label per frame or question: accuracy, precision, recall, F1 and Jaccard, from three counts per class.

These metrics need only hits, truths and predictions per class and video, which are counted once, so that a bootstrap
over videos is a matrix product. Which classes enter a mean is a choice that moves published tables by many
points, hence an argument without default:

    truth   classes that occur in the truth
    union   classes that occur in truth or prediction (scikit-learn's default)
    all     every class of the list

The value of an undefined score, such as the precision of a class that is never predicted (scikit-learn's
`zero_division`), is also an argument; it is 0 by default.

Published tables print a mean and a deviation and rarely say of what: the mean may be over videos and then classes, over
classes and then videos, or over the classes of all frames pooled, and the deviation over videos or over classes. They
differ by many points, so each has its own function here. Deviations are those of a sample (ddof 1).

Shape letters: N rows, C classes, V videos, R resamples; "..." is any leading shape, such as [V] or [R].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Statistic, video_mean
from surgvl.metrics.average_precision import classes_over_videos, nan_mean, videos_then_classes

Absent = Literal["truth", "union", "all"]


@dataclass(frozen=True)
class Counts:
    """Rows per class: correctly predicted, true, predicted; float64 [..., C] each."""

    hits: Float64Array
    truth: Float64Array
    predicted: Float64Array

    def pooled(self, weights: ArrayLike | None = None) -> "Counts":
        """Sum over videos weighted by `weights` [R, V] (None: one each): [V, C] -> [R, C]."""
        counted = np.ones((1, len(self.hits))) if weights is None else np.asarray(weights, np.float64)
        return Counts(counted @ self.hits, counted @ self.truth, counted @ self.predicted)


def count(truth: ArrayLike, predicted: ArrayLike, videos: ArrayLike, num_classes: int) -> Counts:
    """Count hits, truths and predictions per video and class.

    Args:
        truth: int [N], class ids; rows with -1 are ignored.
        predicted: int [N], class ids; -1 is a prediction of no class.
        videos: int [N], 0 ... V-1.
        num_classes: C.

    Returns:
        Counts [V, C]; V includes videos whose rows are all ignored.

    Raises:
        DataError: lengths differ, no row is labelled, or an id is outside -1 ... C-1.
    """
    truth, predicted = _checked(truth, predicted, num_classes), _checked(predicted, truth, num_classes)
    codes = np.asarray(videos)
    if codes.shape != truth.shape or (len(codes) and codes.min() < 0):
        raise DataError(f"videos of shape {codes.shape} for {len(truth)} rows: give one number from 0 per row")
    kept = truth >= 0
    if not kept.any():
        raise DataError(f"none of {len(truth)} rows is labelled: check the split and the labels")
    shape = (int(codes.max()) + 1, num_classes)

    def table(rows: NDArray[np.bool_], ids: NDArray[np.int64]) -> Float64Array:
        cells = np.bincount(codes[rows] * num_classes + ids[rows], minlength=shape[0] * shape[1])
        return cells.reshape(shape).astype(np.float64)

    return Counts(
        table(kept & (truth == predicted), truth), table(kept, truth), table(kept & (predicted >= 0), predicted)
    )


def accuracy(counts: Counts) -> Float64Array:
    """Fraction of rows predicted correctly: [..., C] -> [...]; NaN without rows."""
    return _divide(counts.hits.sum(-1), counts.truth.sum(-1), np.nan)


def precision(counts: Counts) -> Float64Array:
    """Hits over predictions of each class: [..., C]; NaN for classes that are never predicted."""
    return _divide(counts.hits, counts.predicted, np.nan)


def recall(counts: Counts) -> Float64Array:
    """Hits over true rows of each class: [..., C]; NaN for classes absent from the truth."""
    return _divide(counts.hits, counts.truth, np.nan)


def f1(counts: Counts) -> Float64Array:
    """F1 per class, 2 hits / (truth + predicted): [..., C]; NaN for classes in neither."""
    return _divide(2 * counts.hits, counts.truth + counts.predicted, np.nan)


def macro_f1(counts: Counts, absent: Absent, compat: Literal["", "sklearn13_zd1"] = "") -> Float64Array:
    """Mean F1 over classes: [..., C] -> [...].

    Args:
        counts: of one video, of each, or pooled.
        absent: which classes enter the mean (see the top of this file).
        compat: `sklearn13_zd1` reproduces scikit-learn 1.3 with `zero_division=1`, with which published PitVQA and
            EndoVis18 scores were computed: a class that is predicted, but never correctly, counts 1 instead of 0.
    """
    values = f1(counts)
    if compat:
        values = np.where((counts.hits == 0) & (counts.truth > 0) & (counts.predicted > 0), 1.0, values)
    return class_mean(values, counts, absent)


def class_mean(values: Float64Array, counts: Counts, absent: Absent, zero_division: float = 0.0) -> Float64Array:
    """Mean over classes of a score per class: [..., C] -> [...].

    Args:
        values: of `precision`, `recall`, `f1` or `jaccard`.
        counts: that they are of.
        absent: which classes enter the mean (see the top of this file).
        zero_division: value of an undefined score.

    Raises:
        DataError: `absent` is none of the three.
    """
    if absent not in ("truth", "union", "all"):
        raise DataError(f"the absent-class policy must be truth, union or all, got {absent!r}")
    filled = np.nan_to_num(values, nan=zero_division)
    if absent == "all":
        return np.asarray(filled.mean(-1))
    present = (counts.truth > 0) | ((counts.predicted > 0) & (absent == "union"))
    return nan_mean(np.where(present, filled, np.nan))


def weighted_f1(counts: Counts) -> Float64Array:
    """Mean F1, weighted by the true rows of each class: [..., C] -> [...]."""
    return _divide((np.nan_to_num(f1(counts)) * counts.truth).sum(-1), counts.truth.sum(-1), np.nan)


def balanced_accuracy(counts: Counts) -> Float64Array:
    """Mean recall over the classes in the truth: [..., C] -> [...]."""
    return nan_mean(recall(counts))


def jaccard(counts: Counts) -> Float64Array:
    """Strict Jaccard (intersection over union) per class: [..., C]; NaN for classes absent from the truth.

    For phases: mean over the videos with the phase, then over phases (`average_precision.videos_then_classes`).
    """
    union = counts.truth + counts.predicted - counts.hits
    return np.where(counts.truth > 0, _divide(counts.hits, union, np.nan), np.nan)


# ---- averages over classes and videos


@dataclass(frozen=True)
class Average:
    """A mean score.

    Attributes:
        statistic: draws of videos [R, V] -> [R].
        sd_videos: standard deviation over videos; NaN where a video has no score of its own, or there is only one.
        sd_classes: standard deviation over classes; NaN where a class has no score of its own, or there is only one.
        per_class: float64 [C], NaN for classes without a score; None where no class has one.
    """

    statistic: Statistic
    sd_videos: float = math.nan
    sd_classes: float = math.nan
    per_class: Float64Array | None = None


def over_videos_then_classes(table: Float64Array) -> Average:
    """Mean over the videos that define a class, then over classes: the M2CAI16 challenge, and most phase tables.

    Args:
        table: [V, C], NaN where undefined.
    """
    per_class = classes_over_videos(table)[0]

    def statistic(weights: Float64Array) -> Float64Array:
        return videos_then_classes(table, weights)

    return Average(statistic, deviation(nan_mean(table)), deviation(per_class), per_class)


def over_videos(values: Float64Array) -> Average:
    """Mean over videos of one value each [V], such as an accuracy or a mean over the classes of that video."""
    return Average(video_mean(values), deviation(values))


def over_pooled_rows(
    metric: Callable[[Counts], Float64Array], counts: Counts, absent: Absent, zero_division: float = 0.0
) -> Average:
    """Mean over classes of a score from the rows of all videos together.

    Args:
        metric: counts [..., C] -> scores [..., C], such as `precision`.
        counts: [V, C].
        absent: which classes enter the mean.
        zero_division: what an undefined score counts.
    """

    def statistic(weights: Float64Array) -> Float64Array:
        pooled = counts.pooled(weights)
        return class_mean(metric(pooled), pooled, absent, zero_division)

    pooled = counts.pooled()
    occurs = pooled.truth[0] > 0
    per_class = np.where(occurs, np.nan_to_num(metric(pooled)[0], nan=zero_division), np.nan)
    return Average(statistic, sd_classes=deviation(per_class), per_class=per_class)


def deviation(values: Float64Array) -> float:
    """Standard deviation of the finite values [N] as a sample; NaN for fewer than two."""
    defined = np.asarray(values)[np.isfinite(values)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else math.nan


def _divide(above: Float64Array, below: Float64Array, otherwise: float) -> Float64Array:
    found: Float64Array = np.divide(above, below, out=np.full(np.shape(below), otherwise), where=below != 0)
    return found


def _checked(ids: ArrayLike, other: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    array = np.asarray(ids)
    if array.ndim != 1 or array.shape != np.shape(other) or array.dtype.kind not in "iu":
        shapes = f"{array.shape} ({array.dtype}) and {np.shape(other)}"
        raise DataError(f"truth and prediction have shapes {shapes}: give two integer arrays of equal length")
    if len(array) and not (array.min() >= -1 and array.max() < num_classes):
        raise DataError(f"class ids must be from -1 to {num_classes - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)
