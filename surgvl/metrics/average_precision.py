"""Average precision with tied scores grouped: over all frames, per video, or over resampled videos.

AP is the mean over positive frames of the precision among all frames that score at least as high, which equals
scikit-learn's sum over distinct thresholds of (recall step) x precision. So one sort per column suffices, in which
only the positives are looked up. A class without positives has no AP: it is NaN, as decided by the truth, never by the
value.

Shape letters: N frames, K classes, V videos, R resamples.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError


def average_precision(truth: ArrayLike, scores: ArrayLike) -> Float64Array:
    """AP per class over all frames.

    Args:
        truth: [N, K], 0 or 1.
        scores: [N, K], any real; only their order within a class matters.

    Returns:
        float64 [K]; NaN for classes without positives.

    Raises:
        DataError: shapes differ, there are no frames, or a value is not finite.
    """
    labels, values = _checked(truth, scores)
    shown = np.flatnonzero(labels.any(axis=0))
    found = np.full(labels.shape[1], np.nan)
    for k, ordered in zip(shown, np.sort(values.T[shown], axis=1), strict=True):
        positive = np.sort(values[labels[:, k], k])
        found[k] = (_at_least(positive, positive) / _at_least(ordered, positive)).mean()
    return found


def video_average_precision(truth: ArrayLike, scores: ArrayLike, videos: ArrayLike) -> Float64Array:
    """AP per class and video.

    Args:
        truth: [N, K], 0 or 1.
        scores: [N, K].
        videos: int [N], 0 ... V-1; the frames of a video need not be contiguous.

    Returns:
        float64 [V, K]; NaN for classes without positives in that video.

    Raises:
        DataError: shapes differ, there are no frames, a video number has no frames, or a value is not finite.
    """
    labels, values = _checked(truth, scores)
    return np.stack([average_precision(labels[rows], values[rows]) for rows in rows_of(videos, len(labels))])


def weighted_average_precision(
    truth: ArrayLike, scores: ArrayLike, videos: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """AP per class over all frames, with a weight per video (for the bootstrap).

    Args:
        truth: [N, K], 0 or 1.
        scores: [N, K].
        videos: int [N], 0 ... V-1.
        weights: [R, V], weight of each video; a row of ones gives `average_precision`.

    Returns:
        float64 [R, K]; NaN where the weighted videos have no positives.

    Raises:
        DataError: as `video_average_precision`.
    """
    labels, values = _checked(truth, scores)
    groups = rows_of(videos, len(labels))
    counted = np.asarray(weights, np.float64)
    ordered = [np.sort(np.ascontiguousarray(values[rows].T), axis=1) for rows in groups]
    found = np.full((len(counted), labels.shape[1]), np.nan)
    for k in np.flatnonzero(labels.any(axis=0)):
        own = [np.sort(values[rows[labels[rows, k]], k]) for rows in groups]
        # Tied positives of a video share their precision: one threshold with their count.
        unique = [np.unique(part, return_counts=True) for part in own]
        threshold = np.concatenate([part for part, _ in unique])
        mass = np.concatenate([count for _, count in unique])
        home = np.repeat(np.arange(len(groups)), [len(part) for part, _ in unique])
        hits = np.stack([_at_least(part, threshold) for part in own])
        shown = np.stack([_at_least(part[k], threshold) for part in ordered])
        for start in range(0, len(counted), 128):
            block = counted[start : start + 128]
            weight = block[:, home] * mass
            total = weight.sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                precision = np.where(weight > 0, (block @ hits) / (block @ shown), 0.0)
                found[start : start + 128, k] = (weight * precision).sum(axis=1) / total
    return found


def videos_then_classes(table: ArrayLike, weights: ArrayLike | None = None) -> Float64Array:
    """Mean over the videos in which a class is defined, then over the classes that are defined at all.

    Args:
        table: [V, K], NaN where undefined.
        weights: [R, V], how often each video is counted; all once when None.

    Returns:
        float64 [R] (R = 1 without weights); NaN where nothing is defined.
    """
    return nan_mean(classes_over_videos(table, weights))


def classes_over_videos(table: ArrayLike, weights: ArrayLike | None = None) -> Float64Array:
    """Mean over the videos in which a class is defined: [V, K] -> float64 [R, K]; NaN where it is in none."""
    values = np.asarray(table, np.float64)
    counted = np.ones((1, len(values))) if weights is None else np.asarray(weights, np.float64)
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Float64Array = (counted @ np.where(defined, values, 0)) / (counted @ defined)
    return mean


def nan_mean(values: ArrayLike) -> Float64Array:
    """Mean of the finite values along the last axis; NaN, without a warning, where there are none."""
    array = np.asarray(values, np.float64)
    defined = np.isfinite(array)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Float64Array = np.where(defined, array, 0).sum(axis=-1) / defined.sum(axis=-1)
    return mean


def rows_of(videos: ArrayLike, num_rows: int) -> list[NDArray[np.int64]]:
    """Row indices of each video 0 ... V-1, ascending.

    Raises:
        DataError: not one integer per row, or a video number without rows.
    """
    codes = np.asarray(videos)
    if codes.shape != (num_rows,) or codes.dtype.kind not in "iu":
        raise DataError(f"videos of shape {codes.shape} ({codes.dtype}) for {num_rows} rows: give one integer per row")
    counts = np.bincount(codes)
    if (counts == 0).any():
        raise DataError(f"video number {int((counts == 0).argmax())} has no rows: number the videos 0 ... V-1")
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])


def _at_least(ordered: NDArray[np.generic], thresholds: NDArray[np.generic]) -> NDArray[np.int64]:
    return len(ordered) - np.searchsorted(ordered, thresholds, side="left")


def _checked(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    labels, values = np.asarray(truth), np.asarray(scores)
    if labels.ndim != 2 or labels.shape != values.shape or not len(labels):
        raise DataError(f"truth {labels.shape} and scores {values.shape}: give two [N, K] arrays of equal shape, N > 0")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"scores must be finite, got {values[row, column]} in row {row}, class {column}")
    if labels.dtype != bool:
        if not np.isin(labels, (0, 1)).all():
            raise DataError("truth must be 0 or 1: give one column per class")
        labels = labels.astype(bool)
    return labels, values
