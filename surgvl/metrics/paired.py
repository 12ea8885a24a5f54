"""Paired comparison of models that are scored on the same videos: differences, tests and a correction for several.

A bootstrap over videos gives the interval of a difference: both models are scored on the same drawn videos, so that the
difficulty of a video cancels out. The one-sided Wilcoxon signed-rank test (Biometrics Bulletin 1945) asks whether one
model is better on the videos one by one, as SurgVISTA reports it (arXiv 2506.02692). Where several models are compared,
Holm's step-down correction (Scandinavian Journal of Statistics 1979) keeps the chance of any false claim below the
level.

Shape letters: V videos, R draws of videos, M comparisons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.results import Statistic, bootstrap
from surgvl.metrics.ranks import ranks

# Up to so many videos the exact distribution is used; the number of signs, 2 ** 50, is exact in float64.
_EXACT = 50


@dataclass(frozen=True)
class Paired:
    """A difference of two scores.

    Attributes:
        value: first minus second.
        low: lower end of the 95 % interval over videos; NaN with one video.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`yes` if the whole interval is above 0, `no` if none of it is, else `not clear`."""
        if math.isnan(self.value):
            return "not measured"
        return "yes" if self.low > 0 else "no" if self.high <= 0 else "not clear"


def paired_difference(
    first: Sequence[Statistic],
    second: Sequence[Statistic],
    num_videos: int,
    seed: int = 0,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Paired:
    """Difference of two models' scores, with its interval by a bootstrap over the videos that both are scored on.

    Args:
        first: statistics over draws of videos, [R, V] -> [R]: one, or one for each training seed, which are averaged.
        second: of the other model, as many.
        num_videos: V.
        seed: of the draws.
        bounds: range of the difference; that of two fractions by default.

    Raises:
        DataError: not as many statistics of one model as of the other, or no video.
    """
    if not first or len(first) != len(second):
        raise DataError(f"{len(first)} scores of one model and {len(second)} of the other: give them in pairs")

    def statistic(weights: Float64Array) -> Float64Array:
        return np.asarray(np.mean([a(weights) - b(weights) for a, b in zip(first, second, strict=True)], axis=0))

    return Paired(*bootstrap(statistic, num_videos, seed, bounds)[:3])


def wilcoxon(first: ArrayLike, second: ArrayLike) -> float:
    """P-value of the one-sided signed-rank test that the first scores are greater than the second.

    Args:
        first: [V], score of each video; NaN where it has none.
        second: [V], of the same videos.

    Returns:
        Exact for up to 50 differences, those of equal size at the mean of their ranks; else by the normal
        approximation, which few differences of equal size would fool: four make 0.023, though no test of four signs
        can say less than 1/16. Equal pairs are left out (Wilcoxon's own rule); 1 where none is left.

    Raises:
        DataError: lengths differ.
        ConfigError: there are more than 50 differences, and scipy is missing.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise DataError(f"scores of {a.shape} and {b.shape} videos: give one score for each of the same videos")
    away = (a - b)[np.isfinite(a) & np.isfinite(b)]
    # Scores are ratios of counts: differences below their rounding are equal pairs, and others tie in size.
    away = np.round(away, 12)
    away = away[away != 0]
    if not len(away):
        return 1.0
    if len(away) <= _EXACT:
        return _exact(away)
    try:
        from scipy import stats
    except ImportError as error:
        raise ConfigError("the signed-rank test needs scipy: pip install 'surgvl[eval]'") from error
    return float(stats.wilcoxon(away, alternative="greater", method="approx").pvalue)


def _exact(away: Float64Array) -> float:
    """The share of all signs of the differences whose positive ranks sum up to at least those that were found."""
    # Means of ranks are halves.
    doubled = np.round(2 * ranks(np.abs(away))).astype(np.int64)
    # How many signs have each sum.
    counts = np.zeros(int(doubled.sum()) + 1)
    counts[0] = 1
    for rank in doubled:
        counts[rank:] += counts[:-rank].copy()
    return float(counts[doubled[away > 0].sum() :].sum() / 2 ** len(away))


def holm(p_values: ArrayLike) -> Float64Array:
    """P-values corrected for M comparisons, to compare with the level: [M] -> float64 [M]; NaN stays, uncounted.

    Raises:
        DataError: a value is outside 0 ... 1.
    """
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise DataError(f"p-values must be a list of numbers in 0 ... 1, got {values.tolist()}")
    found = np.full(len(values), np.nan)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    steps = values[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return found
