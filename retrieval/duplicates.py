"""Recordings that show the same footage: copies, cuts of one another, other encodings.

Two recordings of the same footage agree along a diagonal: second i of one looks like second i + d of the other, for
many i and one d. A second counts as matched where that other second is its most similar one (to one step), and is at
least as similar as two consecutive seconds of one recording are. So no threshold depends on the model, and a still
picture, which is like all others, matches nothing.

Shape letters: N clips of a recording, M sampled clips, E width of the space.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float32Array, Int64Array
from surgvl.core.checks import check_above

# Rows compared at once, which bounds memory.
_BLOCK = 2048


@dataclass(frozen=True)
class Duplicate:
    """Footage that two recordings share.

    Attributes:
        recording: id of the first, in alphabetical order.
        other: id of the second.
        start_s: where it begins in the first, seconds.
        end_s: where it ends in the first.
        offset_s: time in the second minus time in the first.
        cosine: mean cosine along it.
    """

    recording: str
    other: str
    start_s: float
    end_s: float
    offset_s: float
    cosine: float


def near_duplicates(
    recordings: Mapping[str, Float32Array],
    step_s: float,
    least_s: float = 10.0,
    tick: Callable[[int], object] = lambda _: None,
) -> list[Duplicate]:
    """Find pairs of recordings that share footage; the longest first.

    The cost grows with the square of the hours of video, with a clip every half `least_s` on one side.

    Args:
        recordings: id -> unit vectors [N, E], one every `step_s`.
        step_s: seconds between vectors.
        least_s: shortest footage that counts, seconds.
        tick: called with 1 for each pair that is done.

    Raises:
        ConfigError: `least_s` is not above 0.
    """
    check_above("least_s", least_s)
    least = max(3, round(least_s / step_s))
    alike = {name: _consecutive(vectors) for name, vectors in recordings.items()}
    found: list[Duplicate] = []
    for first, second in combinations(sorted(recordings), 2):
        vectors, others = recordings[first], recordings[second]
        threshold = min(alike[first], alike[second])
        for offset in _offsets(vectors, others, threshold, max(1, least // 2)):
            for begin, end, cosine in _stretches(vectors, others, offset, threshold, least):
                found.append(Duplicate(first, second, begin * step_s, end * step_s, offset * step_s, cosine))
        tick(1)
    return sorted(found, key=lambda each: (each.start_s - each.end_s, each.recording, each.other, each.start_s))


def _consecutive(vectors: Float32Array) -> float:
    """Median cosine of two consecutive clips; 2 where there are none, which nothing reaches."""
    return float(np.median(np.einsum("ne,ne->n", vectors[:-1], vectors[1:]))) if len(vectors) > 1 else 2.0


def _best(queries: Float32Array, others: Float32Array) -> tuple[Int64Array, NDArray[np.float32]]:
    """The most similar of N clips for each of M queries, and its cosine."""
    at, cosines = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.float32)
    for begin in range(0, len(queries), _BLOCK):
        scores = queries[begin : begin + _BLOCK] @ others.T
        at[begin : begin + _BLOCK], cosines[begin : begin + _BLOCK] = scores.argmax(1), scores.max(1)
    return at, cosines


def _offsets(vectors: Float32Array, others: Float32Array, threshold: float, every: int) -> list[int]:
    """Offsets in steps that at least two sampled clips agree on, to one step; each group by its most frequent one."""
    sampled = np.arange(0, len(vectors), every)
    at, cosines = _best(vectors[sampled], others)
    close = cosines >= threshold
    offsets, counts = np.unique(at[close] - sampled[close], return_counts=True)
    kept: list[int] = []
    for offset in offsets[np.argsort(-counts, kind="stable")].tolist():
        near = np.abs(offsets - offset) <= 1
        if counts[near].sum() >= 2 and all(abs(offset - other) > 2 for other in kept):
            kept.append(offset)
    return kept


def _stretches(
    vectors: Float32Array, others: Float32Array, offset: int, threshold: float, least: int
) -> list[tuple[int, int, float]]:
    """Runs of matched clips at an offset: first, end and mean cosine; at most every second clip of a run is unmatched.

    Args:
        vectors: [N, E].
        others: [N of the other, E].
        offset: place in `others` minus place in `vectors`.
        threshold: least cosine of a match.
        least: least length of a run, and most unmatched clips in a row.
    """
    begin, end = max(0, -offset), min(len(vectors), len(others) - offset)
    if end - begin < least:
        return []
    at, cosines = _best(vectors[begin:end], others)
    matched = (np.abs(at - offset - np.arange(begin, end)) <= 1) & (cosines >= threshold)
    places = np.flatnonzero(matched)
    runs = np.split(places, np.flatnonzero(np.diff(places) > least // 2) + 1)
    return [
        (begin + int(run[0]), begin + int(run[-1]) + 1, float(cosines[run].mean()))
        for run in runs
        if len(run) and run[-1] + 1 - run[0] >= least and 2 * len(run) >= run[-1] + 1 - run[0]
    ]
