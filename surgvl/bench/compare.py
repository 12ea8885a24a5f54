"""Differences between rows of a benchmark, paired by training seed and by video, and the verdicts that follow.

The interval is a bootstrap over videos (`metrics.paired`) of the mean difference over seeds. It covers the choice of
videos, not that of training seeds, which are shown next to it.
Shapes: V videos, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from surgvl.bench.plan import Effect
from surgvl.core.arrays import Float64Array
from surgvl.metrics.average_precision import videos_then_classes
from surgvl.metrics.paired import Paired, paired_difference

# Row -> training seed -> probe -> score of each video and class [V, C], NaN if undefined.
ScoreTables = Mapping[str, Mapping[int, Mapping[str, Float64Array]]]
VERDICTS = ("yes", "not clear", "no", "not measured")


@dataclass(frozen=True, kw_only=True)
class Difference(Paired):
    """How much higher a row scores than another, as a mean over seeds.

    Attributes:
        row: the row expected to score higher.
        other: the row it is compared with.
        probe: what the probe predicts.
        seeds: number of seeds in which the row scores higher, and number of seeds.
    """

    row: str
    other: str
    probe: str
    seeds: tuple[int, int]


def scores(tables: ScoreTables, row: str, probe: str) -> list[float]:
    """Score of a row for each seed."""
    found = [table[probe] for table in tables.get(row, {}).values() if probe in table]
    return [float(videos_then_classes(table)[0]) for table in found]


def difference(tables: ScoreTables, row: str, other: str, probe: str) -> Difference:
    """Difference of two rows over their common seeds; NaN if there are none."""
    mine, theirs = tables.get(row, {}), tables.get(other, {})
    seeds = [seed for seed in mine if seed in theirs and probe in mine[seed] and probe in theirs[seed]]
    names = {"row": row, "other": other, "probe": probe}
    if not seeds:
        return Difference(math.nan, math.nan, math.nan, **names, seeds=(0, 0))
    pairs = [(mine[seed][probe], theirs[seed][probe]) for seed in seeds]
    first, second = ([partial(videos_then_classes, pair[at]) for pair in pairs] for at in (0, 1))
    # Means of values up to m differ by m at most: 1 for fractions, more for errors in points of a scale.
    most = max(float(np.abs(np.nan_to_num(table)).max(initial=0.0)) for pair in pairs for table in pair)
    found = paired_difference(first, second, len(pairs[0][0]), bounds=(-most, most))
    higher = sum(bool(videos_then_classes(a)[0] > videos_then_classes(b)[0]) for a, b in pairs)
    return Difference(found.value, found.low, found.high, **names, seeds=(higher, len(seeds)))


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
