"""How often each question is drawn in tuning on several data sets, and which turns of a conversation come before it.

    p(row) = w_s / sum of w  *  1 / T_s  *  1 / N_st

for a row of source s and type t, of which s has T_s types and N_st rows: sources by their weights, in each its types
alike, in each its rows alike. Without weights types are alike whatever their source: p = 1 / T * 1 / N_t. A type is
what the manifest says, so that a question asked ten times a minute does not crowd out one asked once.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.sampler import Floats, Level, expected_draws


def draw_probabilities(
    sources: Sequence[str], types: Sequence[str], weights: Mapping[str, float] | None = None
) -> Floats:
    """Probability of each row, float64 [N], with sum 1; a pure function of its arguments.

    `len(rows) * draw_probabilities(...)` is what `surgvl.data.clips.Permuted` takes as `expected`.

    Args:
        sources: the source of each row, [N].
        types: the type of each row, [N].
        weights: share of the draws of every source that occurs, above 0, with any sum; None for types alike.

    Raises:
        DataError: no row, or lengths differ.
        ConfigError: a source without a weight, a weight without a source, or one that is not above 0.

    >>> draw_probabilities(["a", "a", "b"], ["x", "y", "x"], {"a": 3, "b": 1}).tolist()
    [0.375, 0.375, 0.25]
    """
    if not len(sources) or len(sources) != len(types):
        raise DataError(f"{len(sources)} sources and {len(types)} types: give one of each for every question")
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
        raise ConfigError(f"weight {weights[bad[0]]} of source {bad[0]} is not one: give a finite number above 0")
    # A source's types are groups of their own, whatever they are called elsewhere.
    own = np.unique(place * (int(kinds.max()) + 1) + kinds, return_inverse=True)[1]
    by_row = np.array([weights[name] for name in there], np.float64)[place]
    return expected_draws([Level(place), Level(own)], len(place), by_row) / len(place)


def earlier_turns(video_ids: Sequence[str], conversations: Sequence[str]) -> list[list[int]]:
    """For each row the numbers of the rows that come before it in its conversation, in order.

    Args:
        video_ids: the video of each row, [N].
        conversations: the manifest's column of this name, [N]; rows where it is empty stand alone.

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
