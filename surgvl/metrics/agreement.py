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


def fleiss_kappa(ratings: ArrayLike) -> float:
    """Agreement of raters beyond chance: 0 or 1 [N, J], J >= 2, all rows rated by all -> kappa; NaN for one class.

    Raises:
        DataError: a value is neither 0 nor 1, or fewer than two raters.
    """
    yes, num_raters = _complete(ratings)
    counts = np.stack([num_raters - yes, yes], axis=1)
    observed = ((counts**2).sum(axis=1) - num_raters).mean() / (num_raters * (num_raters - 1))
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return float((observed - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan")


def pairwise_agreement(ratings: ArrayLike) -> float:
    """Share of pairs of raters that say the same: 0 or 1 [N, J], J >= 2, all rows rated by all."""
    yes, num_raters = _complete(ratings)
    no = num_raters - yes
    return float((yes * (yes - 1) + no * (no - 1)).mean() / (num_raters * (num_raters - 1)))


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
