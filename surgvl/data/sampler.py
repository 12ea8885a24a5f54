"""How often each clip is drawn: one formula over sources, specialties and clusters, a cap, and epochs that keep to it.

    p(x) = w(x) * product over levels l of n_l(x)^(-alpha_l), up to a constant

n_l(x) is the size of x's group at level l, counted in groups of the next level, or in clips at the last one: how many
data sets its specialty has, how many clips its data set. alpha 1 at all levels gives every group the same mass as its
siblings; alpha 0 is uniform over clips. Presets, with the confidence of their sources (S stated, S2 told by a secondary
source, I inferred by us, U unknown):

- `frames`, SurgVISTA (arXiv 2506.02692), S: no level; every moment of every video alike.
- `dataset_weight`, V-JEPA 2 (arXiv 2506.09985), S: w_d / N_d, given weights w_d and N_d clips of data set d; there
  drawn with replacement.
- `specialty`, UniSurg (arXiv 2602.05638), S2: 1 / (N_d * |D_s|), D_s the data sets of d's specialty. A small data set
  alone in its specialty is then repeated often: `max_repeats` bounds that.
- `cluster`, SurgRec (arXiv 2603.29966): that it balances is S, by hierarchical clusters S2; features, levels, number of
  clusters and temperature are U. The formula is I, after Vo et al. (arXiv 2405.15613): clusters of each level alike.

An epoch is a systematic resample (Kitagawa 1996): clip i occurs floor or ceil of its expected number of times. Its
offset moves on by the golden ratio, so that over many epochs, too, each clip keeps close to its expectation.
Shapes: N clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRESETS = ("frames", "dataset_weight", "specialty", "cluster")
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Level:
    """One level of the formula, from coarse to fine.

    Args:
        groups: which group each clip is in, int64 [N].
        alpha: 0 leaves the size of a group as it is, 1 takes it out.
    """

    groups: Ints
    alpha: float = 1.0


def group_sizes(levels: Sequence[Level]) -> list[Ints]:
    """n_l(x) of the formula, int64 [N] for each level: groups of the next level, or clips, in each clip's group."""
    found = []
    for at, level in enumerate(levels):
        place = np.unique(level.groups, return_inverse=True)[1]
        members = place
        if at + 1 < len(levels):
            finer = np.unique(levels[at + 1].groups, return_inverse=True)[1]
            width = int(finer.max()) + 1
            members = np.unique(place * width + finer) // width
        found.append(np.asarray(np.bincount(members)[place], np.int64))
    return found


def expected_draws(levels: Sequence[Level], num_clips: int, weights: Floats | None = None) -> Floats:
    """How often each clip is expected in an epoch of N draws: N * p, float64 [N], with sum N.

    Args:
        levels: from coarse to fine; none for uniform.
        num_clips: N.
        weights: w(x), float64 [N], above 0; 1 where left out.
    """
    logs = np.zeros(num_clips)
    for level, sizes in zip(levels, group_sizes(levels), strict=True):
        logs -= level.alpha * np.log(sizes)
    shares = np.exp(logs - logs.max()) * (1.0 if weights is None else weights)
    # In this order equal shares give 1.0 to the bit, and an epoch is then a plain permutation.
    return np.asarray(shares * (num_clips / shares.sum()), np.float64)


def capped(expected: Floats, max_repeats: float) -> Floats:
    """Water-filling: no clip above `max_repeats`; what is cut off goes to the others in proportion. float64 [N].

    Args:
        expected: float64 [N] with sum N.
        max_repeats: at least 1, for with less an epoch of N draws cannot be filled.

    Raises:
        ConfigError: it is below 1.
    """
    if not max_repeats >= 1:
        raise ConfigError(f"max_repeats {max_repeats} is below 1, with which no epoch can be filled: give 1 or more")
    high = np.sort(expected)[::-1]
    # With the k highest at the cap: what is left for the others, over what they have.
    factors = (high.sum() - max_repeats * np.arange(len(high))) / np.cumsum(high[::-1])[::-1]
    fits = factors * high <= max_repeats
    factor = factors[fits.argmax()] if fits.any() else np.inf
    return np.asarray(np.minimum(expected * factor, max_repeats), np.float64)


def epoch_order(expected: Floats, seed: int, epoch: int) -> Ints:
    """The clips of one epoch in the order in which they are drawn, int64 [N]; a pure function of its arguments.

    Clip i occurs floor or ceil of expected[i] times; where all are expected once, this is a permutation.

    Args:
        expected: float64 [N] with sum N.
        seed: of the run.
        epoch: number of the epoch, from 0.
    """
    total = len(expected)
    offset = (np.random.default_rng([seed, 0, 3]).uniform() + epoch * GOLDEN) % 1.0
    ends = np.minimum(np.floor(np.cumsum(expected) + offset), total)
    ends[-1] = total
    counts = np.diff(ends, prepend=0.0).astype(np.int64)
    return np.repeat(np.arange(total), counts)[np.random.default_rng([seed, epoch]).permutation(total)]


def balanced(
    preset: str,
    columns: Mapping[str, ArrayLike],
    num_clips: int,
    weights: Mapping[str, float] | None = None,
    max_repeats: float | None = None,
    temperature: float = 0.0,
) -> Floats:
    """Expected draws of each clip in an epoch under a preset, float64 [N] with sum N.

    Args:
        preset: `frames`, `dataset_weight`, `specialty` or `cluster`.
        columns: [N] names or numbers that the preset needs: `source`; `specialty` and `source`; `cluster_0`,
            `cluster_1` and so on, from coarse to fine.
        num_clips: N.
        weights: source -> its share of the draws, above 0; for `dataset_weight`, and only for it.
        max_repeats: no clip is expected more often than that in an epoch; None for no cap.
        temperature: 0 is the preset, 1 uniform over the clips of a source or cluster; alpha is 1 - temperature.

    Raises:
        ConfigError: an unknown preset, a column or a weight that is missing, or a number out of range.
    """
    levels = [_codes(columns, name) for name in level_names(preset, columns)]
    if not 0 <= temperature <= 1:
        raise ConfigError(f"temperature {temperature} is not within 0 (balanced) and 1 (as the clips are): give such")
    if weights is not None and preset != "dataset_weight":
        raise ConfigError(f"weights are for balance dataset_weight, not {preset}: choose it, or leave the weights out")
    by_clip = _source_weights(columns["source"], weights) if preset == "dataset_weight" else None
    expected = expected_draws([Level(codes, 1 - temperature) for codes in levels], num_clips, by_clip)
    return expected if max_repeats is None else capped(expected, max_repeats)


def level_names(preset: str, columns: Mapping[str, ArrayLike] | None = None) -> list[str]:
    """Names of a preset's levels, from coarse to fine; those of `cluster` are as many as there are such columns.

    Raises:
        ConfigError: an unknown preset.
    """
    if preset == "cluster":
        return [f"cluster_{at}" for at in range(max(1, sum(name.startswith("cluster_") for name in columns or ())))]
    fixed = {"frames": [], "dataset_weight": ["source"], "specialty": ["specialty", "source"]}
    if preset not in fixed:
        near = get_close_matches(preset, PRESETS, n=1)
        hint = f"did you mean {near[0]}?" if near else "choose one of them"
        raise ConfigError(f"balance {preset!r} is unknown; allowed are {', '.join(PRESETS)}: {hint}")
    return fixed[preset]


def _codes(columns: Mapping[str, ArrayLike], name: str) -> Ints:
    if name not in columns:
        raise ConfigError(f"this balance needs the {name} of every clip, which is not given: give it, or use frames")
    return np.asarray(np.unique(np.asarray(columns[name]), return_inverse=True)[1], np.int64)


def _source_weights(sources: ArrayLike, weights: Mapping[str, float] | None) -> Floats:
    """Weight of each clip's source, float64 [N]."""
    names, place = np.unique(np.asarray(sources), return_inverse=True)
    given = weights or {}
    if lost := [str(name) for name in names if str(name) not in given]:
        raise ConfigError(
            f"no weight for source {', '.join(lost)}; weights are given for {', '.join(given) or 'none'}: add one each"
        )
    if bad := [str(name) for name in names if not 0 < given[str(name)] < np.inf]:
        raise ConfigError(f"weight {given[bad[0]]} of source {bad[0]} is not one: give a finite number above 0")
    return np.array([given[str(name)] for name in names], np.float64)[place]
