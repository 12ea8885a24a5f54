"""From a score curve over time to moments: peaks, widened by a threshold, without overlap.

Clips are taken from the best down. A clip that no moment covers or touches is a peak, and starts one. Its threshold
lies at `HEIGHT` of the way from the median of the recording to the peak, and the moment reaches, to either side, as far
as the sum of what scores are above the threshold grows: it bridges a short dip that higher scores behind make up for.
So a moment is as long as its peak is wide, moments of a video never touch (temporal non-maximum suppression), each has
the score of its best clip, the first one always contains the first clip, and none depends on how many are asked for.

`HEIGHT` is chosen on recordings other than those of the measurement (benchmarks/moments.py).
Shape letters: H clips, M moments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import DataError
from surgvl.retrieval.base import DECIMALS

HEIGHT = 0.75
# Clips at most this far apart touch.
GAP_S = 1.0


@dataclass(frozen=True)
class Extents:
    """Moments by descending score.

    Attributes:
        best: int64 [M], index of the best clip among the input.
        start_s: float64 [M], seconds.
        end_s: float64 [M], seconds.
    """

    best: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.best)


def find_extents(
    videos: ArrayLike,
    start_s: ArrayLike,
    end_s: ArrayLike,
    scores: ArrayLike,
    begins: ArrayLike | None = None,
    height: float = HEIGHT,
    gap_s: float = GAP_S,
) -> Extents:
    """The moments of whole recordings.

    Args:
        videos: [H], video of each clip; all clips of each video, in any order.
        start_s: [H] seconds.
        end_s: [H] seconds.
        scores: [H]; ties are taken in the order given.
        begins: bool [H], whether a clip may start a moment that is returned; None: all may.
        height: share of the way from the median to the peak at which the threshold lies.
        gap_s: clips at most this far apart touch.

    Raises:
        DataError: lengths differ.
    """
    names, start, end = np.asarray(videos), np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    values = np.asarray(scores, np.float64)
    wanted = np.ones(len(values), bool) if begins is None else np.asarray(begins, bool)
    lengths = [len(each) for each in (names, start, end, values, wanted)]
    if len(set(lengths)) > 1:
        raise DataError(f"videos, starts, ends, scores and begins have lengths {lengths}: give one of each per clip")
    found: list[tuple[int, float, float]] = []
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero(names == name)
        in_time = rows[np.argsort(start[rows], kind="stable")]
        peaks = _peaks(start[in_time], end[in_time], values[in_time], in_time, wanted[in_time], height, gap_s)
        found += [(int(in_time[at]), start_s, end_s) for at, start_s, end_s in peaks]
    found.sort(key=lambda each: (-values[each[0]], each[0]))
    spans = np.array([each[1:] for each in found], np.float64).reshape(-1, 2)
    return Extents(np.array([each[0] for each in found], np.int64), spans[:, 0], spans[:, 1])


def _peaks(
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
    scores: NDArray[np.float64],
    order: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    height: float,
    gap_s: float,
) -> list[tuple[int, float, float]]:
    """Place in time of the best clip, start and end of the moments of one recording, whose clips are in time order."""
    ground = float(np.median(scores))
    # The first clip after a time that no clip covers, such as one that a filter leaves out.
    after_gap = np.concatenate([[True], start_s[1:] > np.maximum.accumulate(end_s)[:-1] + gap_s])
    is_free = np.ones(len(scores), bool)
    found = []
    num_open = int(wanted.sum())
    for peak in np.lexsort((order, -scores)).tolist():
        if not num_open:
            break
        num_open -= int(wanted[peak])
        if not is_free[peak]:
            continue
        threshold = min(scores[peak], ground + height * (scores[peak] - ground))
        before = np.flatnonzero(~is_free[:peak] | after_gap[1 : peak + 1])
        behind = np.flatnonzero(~is_free[peak + 1 :] | after_gap[peak + 1 :])
        least = int(before[-1]) + 1 if len(before) else 0
        most = peak + int(behind[0]) if len(behind) else len(scores) - 1
        first = peak - _reach(scores[least:peak][::-1] - threshold)
        last = peak + _reach(scores[peak + 1 : most + 1] - threshold)
        begin_s, done_s = float(start_s[first : last + 1].min()), float(end_s[first : last + 1].max())
        is_free &= (start_s > done_s + gap_s) | (end_s < begin_s - gap_s)
        if wanted[peak]:
            found.append((peak, begin_s, done_s))
    return found


def _reach(gains: NDArray[np.float64]) -> int:
    """After how many steps the sum of gains is largest; a score equal to the threshold is a gain, too."""
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gains + 0.5 * 10.0**-DECIMALS)])))
