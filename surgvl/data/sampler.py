"""Which clips pretraining draws, and which frames they show.

Balanced sampling sets the expected draws of each clip over sources, specialties and clusters:

    p(x) = w(x) * product over levels l of n_l(x)^(-alpha_l), up to a constant

n_l(x) is the size of x's group at level l, counted in groups of the next level, or in clips at the last level: the
number of data sets in its specialty, the number of clips in its data set. alpha = 1 at all levels gives sibling groups
equal mass; alpha = 0 is uniform over clips. Presets, with the confidence of their sources (S stated by the paper, S2
reported by a secondary source, I inferred here, U unknown):

- `frames`, SurgVISTA (arXiv 2506.02692), S: no levels; uniform over all moments of all videos.
- `dataset_weight`, V-JEPA 2 (arXiv 2506.09985), S: w_d / N_d for weights w_d and N_d clips of data set d; the paper
  draws with replacement.
- `specialty`, UniSurg (arXiv 2602.05638), S2: 1 / (N_d * |D_s|), with D_s the data sets of d's specialty. A small data
  set alone in its specialty is then repeated often; `max_repeats` bounds that.
- `cluster`, SurgRec (arXiv 2603.29966): balancing is S, hierarchical clusters are S2; features, levels, number of
  clusters and temperature are U. The formula is I, after Vo et al. (arXiv 2405.15613): uniform over the clusters of
  each level.

An epoch is a systematic resample (Kitagawa 1996): clip i occurs floor or ceil of its expected number of times. The
offset advances by the golden ratio, so that each clip stays close to its expectation over many epochs as well.

Frames are numbers on the grid of a model's clips, never of a file. Strides and their padding follow the released code
of SurgVISTA.
Shapes: N clips, T frames.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.checks import check_choice, check_range
from surgvl.core.errors import ConfigError
from surgvl.video.clip import EPS, Preprocess, clip_start

PRESETS = ("frames", "dataset_weight", "specialty", "cluster")
STRIDES = ("fixed", "random", "exponential", "incremental")
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which clips are drawn, and which of their frames are shown.

    Args:
        balance: how clips are sampled: frames (uniformly), dataset_weight, specialty or cluster.
        weights: fraction of the samples drawn from each source, for dataset_weight.
        clusters: file written by `surgvl data cluster`, for cluster.
        temperature: from 0 (fully balanced) to 1 (not balanced).
        max_repeats: maximum of the expected draws of a clip per epoch; by default, no maximum.
        stride: distances between the frames of a clip, in steps of 1 / fps: fixed, random, exponential or incremental.
        repeats: consecutive samples that share a decoded clip and differ by augmentation (repeated augmentation, arXiv
            2303.16727).
    """

    balance: str = "frames"
    weights: dict[str, float] | None = None
    clusters: Path | None = None
    temperature: float = 0.0
    max_repeats: float | None = None
    stride: str = "fixed"
    repeats: int = 1

    def __post_init__(self) -> None:
        """Check the values that do not depend on the data.

        Raises:
            ConfigError: an option is unknown or a number out of range.
        """
        check_choice("--clip.balance", self.balance, PRESETS)
        check_choice("--clip.stride", self.stride, STRIDES)
        check_range("--clip.temperature", self.temperature, 0, 1)
        check_range("--clip.repeats", self.repeats, 1)


# ---- balance


@dataclass(frozen=True)
class Level:
    """One level of the formula, from coarse to fine.

    Args:
        groups: group of each clip, int64 [N].
        alpha: 0 keeps the influence of a group's size, 1 removes it.
    """

    groups: Int64Array
    alpha: float = 1.0


def group_sizes(levels: Sequence[Level]) -> list[Int64Array]:
    """n_l(x) of the formula for each level, int64 [N]: groups of the next level, or clips, in each clip's group."""
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


def expected_draws(levels: Sequence[Level], num_clips: int, weights: Float64Array | None = None) -> Float64Array:
    """Expected draws of each clip in an epoch of N draws: N * p, float64 [N], summing to N.

    Args:
        levels: from coarse to fine; none for uniform.
        num_clips: N.
        weights: w(x), float64 [N], above 0; None for 1.
    """
    logs = np.zeros(num_clips)
    for level, sizes in zip(levels, group_sizes(levels), strict=True):
        logs -= level.alpha * np.log(sizes)
    shares = np.exp(logs - logs.max()) * (1.0 if weights is None else weights)
    # In this order of operations, equal shares give exactly 1.0, and an epoch is then a plain permutation.
    return np.asarray(shares * (num_clips / shares.sum()), np.float64)


def capped(expected: Float64Array, max_repeats: float) -> Float64Array:
    """Cap expectations at `max_repeats` by water-filling: the excess goes to the others in proportion. float64 [N].

    Args:
        expected: float64 [N], summing to N.
        max_repeats: at least 1, because an epoch has N draws.

    Raises:
        ConfigError: max_repeats is below 1.
    """
    if not max_repeats >= 1:
        raise ConfigError(f"max_repeats must be >= 1, got {max_repeats}")
    high = np.sort(expected)[::-1]
    # With the k highest at the cap: the factor that the remaining draws leave for the others.
    factors = (high.sum() - max_repeats * np.arange(len(high))) / np.cumsum(high[::-1])[::-1]
    fits = factors * high <= max_repeats
    factor = factors[fits.argmax()] if fits.any() else np.inf
    return np.asarray(np.minimum(expected * factor, max_repeats), np.float64)


def epoch_order(expected: Float64Array, seed: int, epoch: int) -> Int64Array:
    """The clips of one epoch in drawing order, int64 [N]; a pure function of its arguments.

    Clip i occurs floor or ceil of expected[i] times; if all are expected once, this is a permutation.

    Args:
        expected: float64 [N], summing to N.
        seed: of the run.
        epoch: from 0.
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
) -> Float64Array:
    """Expected draws of each clip in an epoch under a preset, float64 [N], summing to N.

    Args:
        preset: `frames`, `dataset_weight`, `specialty` or `cluster`.
        columns: the columns that the preset needs, [N] each: `source`; `specialty` and `source`; or `cluster_0`,
            `cluster_1`, ... from coarse to fine.
        num_clips: N.
        weights: source -> its share of the draws, above 0; only for `dataset_weight`.
        max_repeats: cap on the expected draws of a clip; None for no cap.
        temperature: from 0 (fully balanced) to 1 (uniform over clips); alpha is 1 - temperature.

    Raises:
        ConfigError: an unknown preset, a missing column or weight, or a number out of range.
    """
    levels = [_codes(columns, name) for name in level_names(preset, columns)]
    if not 0 <= temperature <= 1:
        raise ConfigError(f"temperature must be from 0 (fully balanced) to 1 (not balanced), got {temperature}")
    if weights is not None and preset != "dataset_weight":
        raise ConfigError(
            f"weights are for balance dataset_weight only, not for {preset}: leave the weights out, or choose it"
        )
    by_clip = _source_weights(columns["source"], weights) if preset == "dataset_weight" else None
    expected = expected_draws([Level(codes, 1 - temperature) for codes in levels], num_clips, by_clip)
    return expected if max_repeats is None else capped(expected, max_repeats)


def level_names(preset: str, columns: Mapping[str, ArrayLike] | None = None) -> list[str]:
    """Columns of a preset's levels, from coarse to fine; `cluster` has one level for each such column.

    Raises:
        ConfigError: an unknown preset.
    """
    if preset == "cluster":
        return [f"cluster_{at}" for at in range(max(1, sum(name.startswith("cluster_") for name in columns or ())))]
    fixed = {"frames": [], "dataset_weight": ["source"], "specialty": ["specialty", "source"]}
    check_choice("balance", preset, PRESETS)
    return fixed[preset]


def _codes(columns: Mapping[str, ArrayLike], name: str) -> Int64Array:
    if name not in columns:
        raise ConfigError(f"this balance needs the column {name!r} for every clip: pass it, or use balance frames")
    return np.asarray(np.unique(np.asarray(columns[name]), return_inverse=True)[1], np.int64)


def _source_weights(sources: ArrayLike, weights: Mapping[str, float] | None) -> Float64Array:
    """Weight of each clip's source, float64 [N]."""
    names, place = np.unique(np.asarray(sources), return_inverse=True)
    given = weights or {}
    if lost := [str(name) for name in names if str(name) not in given]:
        raise ConfigError(
            f"no weight for source {', '.join(lost)}; given are {', '.join(given) or 'none'}: add the missing ones"
        )
    if bad := [str(name) for name in names if not 0 < given[str(name)] < np.inf]:
        raise ConfigError(f"the weight of source {bad[0]} must be finite and > 0, got {given[bad[0]]}")
    return np.array([given[str(name)] for name in names], np.float64)[place]


# ---- frames of a clip


def gaps(stride: str, num_frames: int, rng: np.random.Generator) -> Int64Array:
    """Steps of 1 / fps from each frame back to the one before, starting at the last, int64 [T - 1].

    Those of SurgVISTA's code: fixed 1, 1, ...; random, 1 to 5 each; exponential 1, 2, 4, 8, ..., a long memory that is
    dense in the recent past; incremental 0, 2, 4, ..., with 1 for 0, so that no frame repeats.
    """
    number = np.arange(num_frames - 1, dtype=np.int64)
    if stride == "random":
        return np.asarray(rng.integers(1, 6, num_frames - 1), np.int64)
    if stride == "exponential":
        return np.asarray(np.minimum(2.0**number, 1 << 31), np.int64)
    return np.maximum(1, 2 * number) if stride == "incremental" else np.ones_like(number)


def clip_numbers(
    preprocess: Preprocess, moment_s: float, duration_s: float, stride: str, rng: np.random.Generator
) -> Int64Array:
    """Grid numbers of the frames of the clip for a moment, int64 [T], ascending.

    With other strides than `fixed` a clip lasts from its first frame to one step after its last; one that ends with its
    anchor goes back from there, any other is shifted to lie within the video, or ends with a video that is shorter. A
    step back that would leave the video is skipped, so the earliest frame repeats.

    Args:
        preprocess: grid, frames and anchor.
        moment_s: the moment.
        duration_s: duration of the video.
        stride: `fixed`, `random`, `exponential` or `incremental`.
        rng: for random strides.
    """
    if stride == "fixed":
        return preprocess.numbers(preprocess.place(moment_s, duration_s))
    back = gaps(stride, preprocess.num_frames, rng) * preprocess.stride
    last = preprocess.place(moment_s, duration_s)
    if preprocess.anchor != "last":
        length, total = int(back.sum()) + preprocess.stride, max(1, round(duration_s * preprocess.grid_fps))
        before = 0.5 if preprocess.anchor == "centre" else 0.0
        start = math.floor(clip_start(moment_s * preprocess.grid_fps, length, total, before) + 0.5 + EPS)
        last = max(0, min(start + length, total) - preprocess.stride)
    numbers = [last]
    for gap in back.tolist():
        numbers.append(numbers[-1] - gap if numbers[-1] >= gap else numbers[-1])
    return np.array(numbers[::-1], np.int64)
