"""Merge neighbouring hits into moments: clips overlap, so the top ten clips are often one moment.

Hits are processed from the best down. A hit that touches no moment of its video starts one; a hit that touches moments
joins them if its score is high enough and the result is at most `max_s` long, and is ignored otherwise. So moments of a
video never touch, each has the score of its best hit, and the first moment always contains the first hit.

Which scores are high enough depends on all scores of the recording (`merge_high`), not on the number of results.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import DataError
from surgvl.retrieval.base import DECIMALS
from surgvl.retrieval.reference import word_for


@dataclass(frozen=True)
class Moment:
    """A span of a video, in seconds of the source file, with the best score of its clips.

    `odds`: one in how many random pairs of clips is as much alike (`reference.Reference.odds`); 0 where it is unknown.
    """

    video_id: str
    path: str
    start_s: float
    end_s: float
    score: float
    procedure: str
    source: str
    odds: int = 0

    @property
    def word(self) -> str:
        """The odds in a word: `strong`, `maybe` or `weak`; empty where they are unknown."""
        return word_for(self.odds)


class SearchResults(list[Moment]):
    """Moments, best first.

    Attributes:
        remark: one line if the scores mean little (see `reference`); empty otherwise.
    """

    def __init__(self, moments: Iterable[Moment] = (), remark: str = "") -> None:
        super().__init__(moments)
        self.remark = remark


def score_texts(scores: Sequence[float], least: int = 3) -> list[str]:
    """Scores with just enough decimals, `least` to six, to tell different ones apart."""
    different = len({round(score, DECIMALS) for score in scores})
    texts = [""] * len(scores)
    for decimals in range(least, DECIMALS + 1):
        texts = [f"{score:.{decimals}f}" for score in scores]
        if len(set(texts)) == different:
            break
    return texts


def looks_like_a_file(query: str) -> bool:
    """Whether a query looks like a file name rather than a sentence: `clip9.mp4`, `/films/one`, `./one`."""
    return (
        re.fullmatch(r"(\.{0,2}|~)/.*|.*\S\.[a-z]\w{1,3}", query.strip(), re.IGNORECASE | re.ASCII | re.DOTALL)
        is not None
    )


@dataclass(frozen=True)
class Merged:
    """Moments by descending score.

    Attributes:
        best: int64 [M], index of the best hit among the input.
        start_s: float64 [M], seconds.
        end_s: float64 [M], seconds.
    """

    best: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.best)


def merge(
    videos: ArrayLike,
    start_s: ArrayLike,
    end_s: ArrayLike,
    gap_s: float = 1.0,
    max_s: float = 30.0,
    joins: ArrayLike | None = None,
) -> Merged:
    """Merge hits that are sorted from best to worst.

    Args:
        videos: [H], video ids.
        start_s: [H] seconds.
        end_s: [H] seconds.
        gap_s: hits at most this far apart touch.
        max_s: longest merged moment; a single hit may be longer.
        joins: [H], whether a hit may join a moment; None: all may.

    Raises:
        DataError: lengths differ.
    """
    names = np.asarray(videos).tolist()
    spans = list(zip(np.asarray(start_s, float).tolist(), np.asarray(end_s, float).tolist(), strict=True))
    if len(names) != len(spans):
        raise DataError(f"{len(names)} videos and {len(spans)} spans: give one of each per hit")
    joining = [True] * len(names) if joins is None else np.asarray(joins, bool).tolist()
    extent: dict[int, tuple[float, float]] = {}
    of_video: dict[object, list[int]] = {}
    for hit, (name, (start, end)) in enumerate(zip(names, spans, strict=True)):
        mine = of_video.setdefault(name, [])
        touched = [best for best in mine if start <= extent[best][1] + gap_s and end >= extent[best][0] - gap_s]
        if not touched:
            extent[hit] = (start, end)
            mine.append(hit)
            continue
        if not joining[hit]:
            continue
        start = min(start, *(extent[best][0] for best in touched))
        end = max(end, *(extent[best][1] for best in touched))
        if end - start <= max_s:
            for best in touched[1:]:
                del extent[best]
                mine.remove(best)
            extent[touched[0]] = (start, end)
    order = sorted(extent)
    whole = np.array([extent[best] for best in order]).reshape(-1, 2)
    return Merged(np.array(order, np.int64), whole[:, 0], whole[:, 1])


def merge_high(videos: ArrayLike, start_s: ArrayLike, end_s: ArrayLike, scores: ArrayLike, begins: ArrayLike) -> Merged:
    """Moments of whole recordings, whose extents depend on all scores of the recording.

    A hit joins a moment if its score is at least halfway between the median and the best of its recording.

    Args:
        videos: [H], video ids.
        start_s: [H] seconds.
        end_s: [H] seconds.
        scores: [H], descending; all hits of each recording.
        begins: bool [H], whether a hit may start a moment: if one may, so may all better ones.
    """
    names, values, wanted = np.asarray(videos), np.asarray(scores, np.float64), np.asarray(begins, bool)
    high = np.zeros(len(names), bool)
    for name in np.unique(names):
        mine = names == name
        high[mine] = values[mine] >= (np.median(values[mine]) + values[mine].max()) / 2
    # Other hits neither start a requested moment nor extend one.
    kept = np.flatnonzero(high | wanted)
    merged = merge(names[kept], np.asarray(start_s)[kept], np.asarray(end_s)[kept], joins=high[kept])
    best = kept[merged.best]
    shown = wanted[best]
    return Merged(best[shown], merged.start_s[shown], merged.end_s[shown])
