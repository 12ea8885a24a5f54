"""Scores of a predicted number, such as a skill rating: mean absolute error and Spearman's rank correlation.

Tied values share the mean of their ranks (Kendall 1945), as ratings on a scale of whole numbers are mostly ties.

Shape letters: N rows, R draws.
"""

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError


def absolute_error(truth: ArrayLike, predicted: ArrayLike) -> Float64Array:
    """Absolute error of each row, [N] -> float64 [N]."""
    true, guess = _checked(truth, predicted)
    return np.abs(true - guess)


def ranks(values: ArrayLike, counts: ArrayLike | None = None) -> Float64Array:
    """Ranks from 1, ties at the mean of theirs: [N] -> float64 [N].

    Args:
        values: [N].
        counts: [R, N], how often each row is drawn; then [R, N] is returned, and a row drawn k times has the mean of
            its k ranks. Rows that are not drawn have a rank between those of their neighbours.
    """
    array = np.asarray(values)
    _, level = np.unique(array, return_inverse=True)
    drawn = np.ones((1, len(array))) if counts is None else np.asarray(counts, np.float64)
    by_level = np.zeros((int(level.max(initial=-1)) + 1, len(drawn)))
    np.add.at(by_level, level, drawn.T)
    found: Float64Array = (np.cumsum(by_level, axis=0) - (by_level - 1) / 2)[level].T
    return found[0] if counts is None else found


def spearman(truth: ArrayLike, predicted: ArrayLike, counts: ArrayLike | None = None) -> Float64Array:
    """Spearman's correlation: Pearson's of the ranks.

    Args:
        truth: [N].
        predicted: [N].
        counts: [R, N], how often each row is drawn; once each if None.

    Returns:
        float64 [R] (R = 1 without counts); NaN where all truths or all predictions that are drawn are equal.

    Raises:
        DataError: no rows, lengths that differ, or a value that is not finite.
    """
    true, guess = _checked(truth, predicted)
    drawn = np.ones((1, len(true))) if counts is None else np.asarray(counts, np.float64)
    # Ranks are halves of whole numbers and their mean is known, so equal values deviate by exactly 0.
    mean = (drawn.sum(axis=1, keepdims=True) + 1) / 2
    a, b = (ranks(values, drawn) - mean for values in (true, guess))
    spread = np.sqrt((drawn * a**2).sum(axis=1) * (drawn * b**2).sum(axis=1))
    found: Float64Array = np.divide(
        (drawn * a * b).sum(axis=1), spread, out=np.full(len(drawn), np.nan), where=spread > 0
    )
    return found


def nearest_level(values: ArrayLike, levels: ArrayLike) -> Int64Array:
    """Index of the nearest of ascending levels, the lower one halfway: [N], [C] -> int64 [N]."""
    numbers, steps = np.asarray(values, np.float64), np.asarray(levels, np.float64)
    found: Int64Array = np.searchsorted((steps[:-1] + steps[1:]) / 2, numbers, side="left").astype(np.int64)
    return found


def _checked(truth: ArrayLike, predicted: ArrayLike) -> tuple[Float64Array, Float64Array]:
    true, guess = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if true.ndim != 1 or true.shape != guess.shape or not len(true):
        raise DataError(f"truth {true.shape} and prediction {guess.shape}: give two arrays [N] of equal length, N > 0")
    if not (np.isfinite(true).all() and np.isfinite(guess).all()):
        raise DataError("truth and prediction must be finite: leave out rows without a score")
    return true, guess
