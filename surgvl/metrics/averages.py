"""Ways to average a score per class over classes and videos, each with its standard deviations.

Published tables print a mean and a deviation and rarely say of what: the mean may be over videos and then classes, over
classes and then videos, or over the classes of all frames pooled, and the deviation over videos or over classes. They
differ by many points, so each has its own function here. Deviations are those of a sample (ddof 1).

Shape letters: V videos, C classes, R draws of videos.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.results import Statistic, video_mean
from surgvl.metrics.average_precision import classes_over_videos, nan_mean, videos_then_classes
from surgvl.metrics.classify import Absent, Counts, class_mean


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
        metric: counts [..., C] -> scores [..., C], such as `classify.precision`.
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
