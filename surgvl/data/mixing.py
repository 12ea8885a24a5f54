"""Mixing questions of several data sets: how often each is drawn, and which turns of its conversation precede it.

    p(row) = w_s / sum of w  *  1 / T_s  *  1 / N_st

for a row of source s and type t, where s has T_s types and N_st rows of type t: sources are drawn by weight, types
uniformly within a source, rows uniformly within a type. Without weights, types are drawn uniformly whatever their
source: p = 1 / T * 1 / N_t. Types are those of the manifest, so a question asked ten times a minute does not crowd out
one asked once.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.sampler import Level, expected_draws


def draw_probabilities(
    sources: Sequence[str], types: Sequence[str], weights: Mapping[str, float] | None = None
) -> Float64Array:
    """Probability of each row, float64 [N], summing to 1.

    Multiplied by N, it is the `expected` of `surgvl.data.clips.EndlessDataset`.

    Args:
        sources: the source of each row, [N].
        types: the type of each row, [N].
        weights: relative share of each source that occurs, above 0; None to draw types uniformly.

    Raises:
        DataError: there is no row, or lengths differ.
        ConfigError: a source without a weight, a weight without a source, or a weight that is not above 0.

    >>> draw_probabilities(["a", "a", "b"], ["x", "y", "x"], {"a": 3, "b": 1}).tolist()
    [0.375, 0.375, 0.25]
    """
    if not len(sources) or len(sources) != len(types):
        raise DataError(f"each question needs a source and a type, got {len(sources)} sources and {len(types)} types")
    kinds = np.unique(np.asarray(types, np.str_), return_inverse=True)[1]
    if weights is None:
        return expected_draws([Level(kinds)], len(kinds)) / len(kinds)
    names, place = np.unique(np.asarray(sources, np.str_), return_inverse=True)
    there = [str(name) for name in names]
    if set(there) != set(weights):
        raise ConfigError(
            f"weights are for {', '.join(sorted(weights)) or 'nothing'}, the questions are of "
            f"{', '.join(name or '(no source)' for name in there)}: give a weight for each source and for no other"
        )
    if bad := [name for name in there if not 0 < weights[name] < np.inf]:
        raise ConfigError(f"the weight of source {bad[0]} must be finite and > 0, got {weights[bad[0]]}")
    # Types of different sources are different groups, even under the same name.
    own = np.unique(place * (int(kinds.max()) + 1) + kinds, return_inverse=True)[1]
    by_row = np.array([weights[name] for name in there], np.float64)[place]
    return expected_draws([Level(place), Level(own)], len(place), by_row) / len(place)


def earlier_turns(video_ids: Sequence[str], conversations: Sequence[str]) -> list[list[int]]:
    """For each row, the indices of the earlier rows of its conversation, in order.

    Args:
        video_ids: the video of each row, [N].
        conversations: the manifest's column of that name, [N]; rows where it is empty stand alone.

    >>> earlier_turns(["v", "v", "v", "w"], ["c", "", "c", "c"])
    [[], [], [0], []]
    """
    said: dict[tuple[str, str], list[int]] = {}
    before: list[list[int]] = []
    for number, key in enumerate(zip(video_ids, conversations, strict=True)):
        before.append(list(said.get(key, [])) if key[1] else [])
        if key[1]:
            said.setdefault(key, []).append(number)
    return before
