"""Differences between rows of a benchmark, paired by training seed and by video, and the verdicts that follow.

The interval is a bootstrap over videos (`results.bootstrap_interval`) of the mean difference over seeds. Both rows are
scored on the same drawn videos, so the difficulty of a video cancels out. It covers the choice of videos, not that of
training seeds, which are shown next to it.
Shapes: V videos, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surgvl.bench.plan import Effect
from surgvl.core.arrays import Float64Array
from surgvl.core.results import bootstrap_interval
from surgvl.metrics.average_precision import videos_then_classes

# Row -> training seed -> probe -> score of each video and class [V, C], NaN if undefined.
ScoreTables = Mapping[str, Mapping[int, Mapping[str, Float64Array]]]
VERDICTS = ("yes", "not clear", "no", "not measured")


@dataclass(frozen=True)
class Difference:
    """How much higher a row scores than another.

    Attributes:
        row: the row expected to score higher.
        other: the row it is compared with.
        probe: what the probe predicts.
        value: mean over seeds.
        low: lower end of its 95 % interval over videos; NaN with one video.
        high: upper end.
        seeds: number of seeds in which the row scores higher, and number of seeds.
    """

    row: str
    other: str
    probe: str
    value: float
    low: float
    high: float
    seeds: tuple[int, int]

    @property
    def verdict(self) -> str:
        """`yes` if the whole interval is above 0, `no` if none of it is, else `not clear`."""
        if math.isnan(self.value):
            return "not measured"
        return "yes" if self.low > 0 else "no" if self.high <= 0 else "not clear"


def scores(tables: ScoreTables, row: str, probe: str) -> list[float]:
    """Score of a row for each seed."""
    found = [table[probe] for table in tables.get(row, {}).values() if probe in table]
    return [float(videos_then_classes(table)[0]) for table in found]


def difference(tables: ScoreTables, row: str, other: str, probe: str) -> Difference:
    """Difference of two rows over their common seeds; NaN if there are none."""
    mine, theirs = tables.get(row, {}), tables.get(other, {})
    seeds = [seed for seed in mine if seed in theirs and probe in mine[seed] and probe in theirs[seed]]
    if not seeds:
        return Difference(row, other, probe, math.nan, math.nan, math.nan, (0, 0))
    pairs = [(mine[seed][probe], theirs[seed][probe]) for seed in seeds]

    def statistic(weights: Float64Array) -> Float64Array:
        found = [videos_then_classes(a, weights) - videos_then_classes(b, weights) for a, b in pairs]
        return np.asarray(np.mean(found, axis=0))

    num_videos = len(pairs[0][0])
    value, low, high = bootstrap_interval(statistic, num_videos, bounds=(-1.0, 1.0))
    higher = sum(bool(videos_then_classes(a)[0] > videos_then_classes(b)[0]) for a, b in pairs)
    return Difference(row, other, probe, value, low, high, (higher, len(seeds)))


def verdict_of(tables: ScoreTables, effect: Effect) -> tuple[str, list[Difference]]:
    """Whether an expected effect was found, and the differences behind the verdict.

    `yes` if all differences say yes, `no` if one says no, else `not clear`; `not measured` if rows are missing.
    """
    found = [difference(tables, row, other, probe) for row, other in effect.pairs for probe in effect.probes]
    return combined([each.verdict for each in found]), found


def combined(verdicts: Sequence[str]) -> str:
    """One verdict for several."""
    for word in ("no", "not measured", "not clear"):
        if word in verdicts:
            return word
    return "yes"
