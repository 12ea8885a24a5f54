"""Agreement of ordered or nominal labels: quadratic kappa, and raters with one another.

Weighted kappa: Cohen, Psychological Bulletin 1968. Kappa of several raters: Fleiss, Psychological Bulletin 1971. Kappa
is agreement beyond that of raters who guess with the same class frequencies: 1 for perfect, 0 for chance; NaN if only
one class occurs at all, where chance is perfect, too.

Shape letters: N rows, C classes, V videos, J raters; "..." is any leading shape.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError


def confusion(truth: ArrayLike, predicted: ArrayLike, videos: ArrayLike, num_classes: int) -> Float64Array:
    """Rows of each video by true and predicted class: float64 [V, C, C], so that draws of videos are sums.

    Args:
        truth: int [N], class ids 0 ... C-1.
        predicted: int [N].
        videos: int [N], 0 ... V-1.
        num_classes: C.

    Raises:
        DataError: no rows, lengths that differ, or an id outside 0 ... C-1.
    """
    ids = np.stack(np.broadcast_arrays(truth, predicted, videos)) if np.shape(truth) == np.shape(predicted) else None
    if ids is None or ids.ndim != 2 or not ids.shape[1] or ids.dtype.kind not in "iu":
        raise DataError(f"truth {np.shape(truth)} and prediction {np.shape(predicted)}: give two integer arrays [N]")
    if not (ids.min() >= 0 and ids[:2].max() < num_classes):
        raise DataError(f"class ids must be from 0 to {num_classes - 1}, got {ids[:2].min()} to {ids[:2].max()}")
    num_videos = int(ids[2].max()) + 1
    cells = (ids[2] * num_classes + ids[0]) * num_classes + ids[1]
    counts = np.bincount(cells, minlength=num_videos * num_classes**2)
    return counts.reshape(num_videos, num_classes, num_classes).astype(np.float64)


def quadratic_kappa(table: Float64Array) -> Float64Array:
    """Kappa that weights a disagreement by its squared distance, for ordered classes: [..., C, C] -> [...]."""
    ids = np.arange(table.shape[-1], dtype=np.float64)
    away = (ids[:, None] - ids) ** 2
    total = table.sum(axis=(-2, -1))
    by_chance = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
    observed, expected = (away * table).sum(axis=(-2, -1)) * total, (away * by_chance).sum(axis=(-2, -1))
    ratio = np.divide(observed, expected, out=np.full(np.shape(expected), np.nan), where=expected > 0)
    return np.asarray(1 - ratio)


def majority(ratings: ArrayLike) -> NDArray[np.bool_]:
    """What more than half of the raters say: 0 or 1 [N, J] -> bool [N]; NaN is a rater who did not rate.

    Raises:
        DataError: a value is neither 0, 1 nor NaN, a row has no rating, or a tie.
    """
    values = _ratings(ratings)
    given = np.isfinite(values).sum(axis=1)
    yes = np.nansum(values, axis=1)
    if (unsure := (given == 0) | (2 * yes == given)).any():
        row = int(unsure.argmax())
        what = "no rating" if not given[row] else f"{int(yes[row])} of {given[row]} raters for it"
        raise DataError(f"row {row} has {what}: a majority needs an odd number of raters; leave the row out")
    return np.asarray(2 * yes > given)


def rater_sums(ratings: ArrayLike, videos: ArrayLike) -> Float64Array:
    """What raters say in each video, so that draws of videos are sums.

    Args:
        ratings: 0 or 1 [N, J], J >= 2, all rows rated by all.
        videos: int [N], 0 ... V-1.

    Returns:
        float64 [V, 3]: rows, sum of the shares of raters who say 1, sum of the shares of pairs that say the same.

    Raises:
        DataError: a value is neither 0 nor 1, or fewer than two raters.
    """
    yes, num_raters = _complete(ratings)
    no = num_raters - yes
    same = (yes * (yes - 1) + no * (no - 1)) / (num_raters * (num_raters - 1))
    groups = np.asarray(videos)
    return np.stack([np.bincount(groups, each) for each in (np.ones(len(yes)), yes / num_raters, same)], axis=-1)


def pairwise_agreement(sums: Float64Array) -> Float64Array:
    """Share of pairs of raters that say the same: sums [..., 3] -> [...]; NaN without a row."""
    return _per_row(sums[..., 2], sums)


def chance_agreement(sums: Float64Array) -> Float64Array:
    """Share of pairs that would say the same by chance: sums [..., 3] -> [...]; NaN without a row."""
    yes = _per_row(sums[..., 1], sums)
    return np.asarray(yes**2 + (1 - yes) ** 2)


def fleiss_kappa(sums: Float64Array) -> Float64Array:
    """Agreement of raters beyond chance: sums [..., 3] -> [...]; NaN for one class."""
    by_chance = chance_agreement(sums)
    beyond = pairwise_agreement(sums) - by_chance
    kappa: Float64Array = np.divide(beyond, 1 - by_chance, out=np.full(np.shape(beyond), np.nan), where=by_chance < 1)
    return kappa


def _per_row(values: Float64Array, sums: Float64Array) -> Float64Array:
    rows = sums[..., 0]
    found: Float64Array = np.divide(values, rows, out=np.full(rows.shape, np.nan), where=rows > 0)
    return found


def _ratings(ratings: ArrayLike) -> Float64Array:
    values = np.asarray(ratings, np.float64)
    if values.ndim != 2 or not values.size:
        raise DataError(f"ratings must be [N rows, J raters], got {values.shape}")
    if not np.isin(values[np.isfinite(values)], (0, 1)).all():
        raise DataError("ratings must be 0 or 1, one column per rater; NaN where one did not rate")
    return values


def _complete(ratings: ArrayLike) -> tuple[Int64Array, int]:
    values = _ratings(ratings)
    if values.shape[1] < 2 or not np.isfinite(values).all():
        raise DataError(
            f"agreement needs rows rated by all of at least two raters, got {values.shape}: drop the others"
        )
    return values.sum(axis=1).astype(np.int64), values.shape[1]
