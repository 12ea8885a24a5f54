"""Labels over time: spans, runs of equal labels, and which spans cover which times.

Times are seconds of the source video; a span covers start_s <= t < end_s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Span = tuple[float, float, str]


@dataclass
class Track:
    """What one label file says of one video.

    Attributes:
        spans: (start_s, end_s, label), in order of the file.
        end_s: where the file's labelling ends, labelled or not.
        notes: one line for each thing a reader of the data should know, such as a gap.
        set_aside: one line for each row that contradicts itself.
        whole: the file labels the whole video, so that an early end is worth a remark.
    """

    spans: list[Span]
    end_s: float
    notes: list[str] = field(default_factory=list)
    whole: bool = True
    set_aside: list[str] = field(default_factory=list)


def cover(start_s: Any, end_s: Any, times_s: Any) -> tuple[Any, Any]:
    """Pairs (query, span) with start_s[span] <= times_s[query] < end_s[span].

    Args:
        start_s: float64 [S], spans of one video, overlapping or not.
        end_s: float64 [S].
        times_s: float64 [Q], in any order.

    Returns:
        Two int64 arrays [P]: query index and span index of each pair, ordered by span.
    """
    order = np.argsort(times_s, kind="stable")
    ranked = np.asarray(times_s)[order]
    low, high = np.searchsorted(ranked, start_s, "left"), np.searchsorted(ranked, end_s, "left")
    counts = high - low
    span = np.repeat(np.arange(len(counts)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[low[span] + offset], span


def runs(numbers: Sequence[int], labels: Sequence[str], step_s: float = 1.0, stride: int = 1) -> list[Span]:
    """Join equal neighbouring labels into spans; a jump in the numbers ends a span, an empty label makes none.

    Args:
        numbers: frame or second numbers, strictly ascending.
        labels: one label for each.
        step_s: seconds of one number.
        stride: numbers from one row to the next where none is missing; a row stands for that many.
    """
    found: list[Span] = []
    begin = 0
    for at in range(1, len(labels) + 1):
        if at == len(labels) or labels[at] != labels[begin] or numbers[at] != numbers[at - 1] + stride:
            if labels[begin]:
                end = numbers[at - 1] + stride
                found.append((round_time(numbers[begin] * step_s), round_time(end * step_s), labels[begin]))
            begin = at
    return found


def clip(spans: Sequence[Span], end_s: float) -> list[Span]:
    """Cut spans at the end of the video and leave out those that start beyond it."""
    return [(start, min(end, end_s), label) for start, end, label in spans if start < end_s]


def round_time(seconds: float) -> float:
    """Round to a tenth of a millisecond, so that 3 * 0.04 is written as 0.12."""
    return math.floor(seconds * 1e4 + 0.5) / 1e4
