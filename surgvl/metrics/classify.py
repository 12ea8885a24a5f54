"""One label for each frame or question: accuracy, F1, balanced accuracy and Jaccard, from three counts for each class.

Hits, truth and predictions of each class and video are all that these metrics need; so they are counted once, and a
bootstrap over videos is a matrix product. Which classes enter a mean is a choice that moves published tables by many
points, hence an argument without default:

    truth   classes that occur in the truth; what is undefined counts 0
    union   classes that occur in truth or prediction (scikit-learn's default)
    all     every class of the list; absent ones count 0

Shape letters: N rows, C classes, V videos, R resamples; "..." is any leading shape, such as [V] or [R].
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.metrics.precision import nan_mean

Absent = Literal["truth", "union", "all"]


@dataclass(frozen=True)
class Counts:
    """Rows of each class: rightly predicted, in the truth, predicted; float64 [..., C] each."""

    hits: Float64Array
    truth: Float64Array
    predicted: Float64Array

    def pooled(self, weights: ArrayLike | None = None) -> "Counts":
        """Sum over videos, each counted as often as `weights` [R, V] says (once when None): [V, C] -> [R, C]."""
        counted = np.ones((1, len(self.hits))) if weights is None else np.asarray(weights, np.float64)
        return Counts(counted @ self.hits, counted @ self.truth, counted @ self.predicted)


def count(truth: ArrayLike, predicted: ArrayLike, videos: ArrayLike, num_classes: int) -> Counts:
    """Count hits, truth and predictions for each video and class.

    Args:
        truth: int [N], class ids; rows with -1 are left out.
        predicted: int [N], class ids; -1 is an answer that belongs to no class.
        videos: int [N], 0 ... V-1.
        num_classes: C.

    Returns:
        Counts [V, C]; V counts the videos in `videos`, also those of which every row is left out.

    Raises:
        DataError: lengths differ, no labelled row, or an id outside -1 ... C-1.
    """
    truth, predicted = _checked(truth, predicted, num_classes), _checked(predicted, truth, num_classes)
    codes = np.asarray(videos)
    if codes.shape != truth.shape or (len(codes) and codes.min() < 0):
        raise DataError(f"videos of shape {codes.shape} for {len(truth)} rows: give a number from 0 for each row")
    kept = truth >= 0
    if not kept.any():
        raise DataError(f"none of {len(truth)} rows has a label: check the split and the labels")
    shape = (int(codes.max()) + 1, num_classes)

    def table(rows: NDArray[np.bool_], ids: NDArray[np.int64]) -> Float64Array:
        cells = np.bincount(codes[rows] * num_classes + ids[rows], minlength=shape[0] * shape[1])
        return cells.reshape(shape).astype(np.float64)

    return Counts(
        table(kept & (truth == predicted), truth), table(kept, truth), table(kept & (predicted >= 0), predicted)
    )


def confusion(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Confusion matrix int64 [C, C], rows truth, columns prediction; rows with a -1 on either side are left out."""
    truth, predicted = _checked(truth, predicted, num_classes), _checked(predicted, truth, num_classes)
    kept = (truth >= 0) & (predicted >= 0)
    cells = np.bincount(truth[kept] * num_classes + predicted[kept], minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def accuracy(counts: Counts) -> Float64Array:
    """Share of rows predicted rightly: [..., C] -> [...]; NaN where there is no row."""
    return _divide(counts.hits.sum(-1), counts.truth.sum(-1), np.nan)


def f1(counts: Counts) -> Float64Array:
    """F1 of each class, 2 hits / (truth + predicted): [..., C]; NaN where a class is in neither."""
    return _divide(2 * counts.hits, counts.truth + counts.predicted, np.nan)


def macro_f1(counts: Counts, absent: Absent, compat: Literal["", "sklearn13_zd1"] = "") -> Float64Array:
    """Mean F1 over classes: [..., C] -> [...].

    Args:
        counts: of one video, of each, or pooled.
        absent: which classes enter the mean (see the top of this file).
        compat: `sklearn13_zd1` repeats scikit-learn 1.3 with `zero_division=1`, with which public PitVQA and EndoVis18
            scores were made: a class that was predicted, but never rightly, counts 1 instead of 0.
    """
    values = f1(counts)
    if compat:
        values = np.where((counts.hits == 0) & (counts.truth > 0) & (counts.predicted > 0), 1.0, values)
    return _class_mean(values, counts, absent)


def weighted_f1(counts: Counts) -> Float64Array:
    """Mean F1, each class weighted by its rows in the truth: [..., C] -> [...]."""
    return _divide((np.nan_to_num(f1(counts)) * counts.truth).sum(-1), counts.truth.sum(-1), np.nan)


def balanced_accuracy(counts: Counts) -> Float64Array:
    """Mean recall over the classes in the truth: [..., C] -> [...]."""
    return nan_mean(_divide(counts.hits, counts.truth, np.nan))


def jaccard(counts: Counts) -> Float64Array:
    """Strict Jaccard (intersection over union) of each class: [..., C]; NaN where the truth lacks the class.

    For phases: mean over the videos that hold the phase, then over phases (`precision.videos_then_classes`).
    """
    union = counts.truth + counts.predicted - counts.hits
    return np.where(counts.truth > 0, _divide(counts.hits, union, np.nan), np.nan)


def _class_mean(values: Float64Array, counts: Counts, absent: Absent) -> Float64Array:
    if absent not in ("truth", "union", "all"):
        raise DataError(f"absent-class policy {absent!r}; known are truth, union, all")
    filled = np.nan_to_num(values)
    if absent == "all":
        return np.asarray(filled.mean(-1))
    present = (counts.truth > 0) | ((counts.predicted > 0) & (absent == "union"))
    return nan_mean(np.where(present, filled, np.nan))


def _divide(above: Float64Array, below: Float64Array, otherwise: float) -> Float64Array:
    found: Float64Array = np.divide(above, below, out=np.full(np.shape(below), otherwise), where=below != 0)
    return found


def _checked(ids: ArrayLike, other: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    array = np.asarray(ids)
    if array.ndim != 1 or array.shape != np.shape(other) or array.dtype.kind not in "iu":
        shapes = f"{array.shape} ({array.dtype}) and {np.shape(other)}"
        raise DataError(f"truth and prediction of shape {shapes}: give two integer arrays of one length")
    if len(array) and not (array.min() >= -1 and array.max() < num_classes):
        raise DataError(f"class ids {array.min()} to {array.max()}; allowed are -1 to {num_classes - 1}")
    return array.astype(np.int64)
