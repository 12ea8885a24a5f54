"""Labels over time: spans, runs of equal labels, and the spans that cover given times.

Times are seconds of the source video; a span covers start_s <= t < end_s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from surgvl.core.plurals import plural

Span = tuple[float, float, str]


@dataclass
class Track:
    """The labels of one task in one video, as one label file has them.

    Attributes:
        spans: (start_s, end_s, label), in order of the file.
        end_s: end of what the file covers, labelled or not.
        notes: one line for each thing that a user of the data should know, such as a gap.
        whole: whether the file is meant to cover the whole video, so that an early end is worth a note.
        unreadable: one line for each row that contradicts itself.
    """

    spans: list[Span]
    end_s: float
    notes: list[str] = field(default_factory=list)
    whole: bool = True
    unreadable: list[str] = field(default_factory=list)


def cover(start_s: Any, end_s: Any, times_s: Any) -> tuple[Any, Any]:
    """All pairs (query, span) with start_s[span] <= times_s[query] < end_s[span].

    Args:
        start_s: float64 [S], spans of one video, overlapping or not.
        end_s: float64 [S].
        times_s: float64 [Q], in any order.

    Returns:
        Query index and span index of each pair, int64 [P] each, ordered by span.
    """
    order = np.argsort(times_s, kind="stable")
    ranked = np.asarray(times_s)[order]
    low, high = np.searchsorted(ranked, start_s, "left"), np.searchsorted(ranked, end_s, "left")
    counts = high - low
    span = np.repeat(np.arange(len(counts)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[low[span] + offset], span


def join_runs(numbers: Sequence[int], labels: Sequence[str], step_s: float = 1.0, stride: int = 1) -> list[Span]:
    """Join equal consecutive labels into spans; a gap in the numbers ends a span, and an empty label makes none.

    Args:
        numbers: frame or second numbers, strictly increasing.
        labels: one label for each number.
        step_s: seconds per number.
        stride: distance of consecutive numbers where none is missing; each row stands for that many.
    """
    pairs = enumerate(zip(labels, labels[1:], numbers, numbers[1:], strict=False), 1)
    begins = [at for at, (label, other, number, later) in pairs if label != other or later != number + stride]
    return [
        (round_time(numbers[begin] * step_s), round_time((numbers[end - 1] + stride) * step_s), labels[begin])
        for begin, end in pairwise([0, *begins, len(labels)])
        if labels and labels[begin]
    ]


def overlap_notes(spans: Sequence[Span]) -> list[str]:
    """A remark on neighbouring spans that overlap, where a moment has several labels."""
    ranked = sorted(spans)
    count = sum(one[1] > two[0] for one, two in zip(ranked, ranked[1:], strict=False))
    if not count:
        return []
    return [f"{plural(count, 'pair')} of neighbouring segments overlap: there, a moment has both labels"]


def clip_spans(spans: Sequence[Span], end_s: float) -> list[Span]:
    """Clip spans to the end of the video and drop those that start after it."""
    return [(start, min(end, end_s), label) for start, end, label in spans if start < end_s]


def round_time(seconds: float) -> float:
    """Round to a tenth of a millisecond, so that 3 * 0.04 is written as 0.12."""
    return math.floor(seconds * 1e4 + 0.5) / 1e4
