"""Neighbouring hits become one moment: clips overlap, so the best ten clips are often one place.

Hits are taken from the best down. One that touches no moment of its video begins a moment; one that touches moments
joins them, as long as the whole stays within `max_s`; otherwise it is passed over. So moments of a video never touch,
each has the score of its best hit, and the first moment always holds the first hit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.errors import DataError


@dataclass(frozen=True)
class Moment:
    """A place in a video, in seconds of the source file, with the best score of the clips in it."""

    video_id: str
    path: str
    start_s: float
    end_s: float
    score: float
    procedure: str
    source: str


@dataclass(frozen=True)
class Merged:
    """Moments by falling score.

    Attributes:
        best: int64 [M], position of the best hit among those given.
        start_s: float64 [M], seconds.
        end_s: float64 [M], seconds.
    """

    best: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.best)


def merge(videos: ArrayLike, start_s: ArrayLike, end_s: ArrayLike, gap_s: float = 1.0, max_s: float = 30.0) -> Merged:
    """Merge hits, given from the best to the worst.

    Args:
        videos: [H] what tells videos apart, such as ids.
        start_s: [H] seconds.
        end_s: [H] seconds.
        gap_s: hits whose distance is at most this touch.
        max_s: a moment does not grow beyond this; a single hit may be longer.

    Raises:
        DataError: lengths differ.
    """
    names = np.asarray(videos).tolist()
    spans = list(zip(np.asarray(start_s, float).tolist(), np.asarray(end_s, float).tolist(), strict=True))
    if len(names) != len(spans):
        raise DataError(f"{len(names)} videos and {len(spans)} stretches: give one for each hit")
    extent: dict[int, tuple[float, float]] = {}
    of_video: dict[object, list[int]] = {}
    for hit, (name, (start, end)) in enumerate(zip(names, spans, strict=True)):
        mine = of_video.setdefault(name, [])
        touched = [best for best in mine if start <= extent[best][1] + gap_s and end >= extent[best][0] - gap_s]
        if not touched:
            extent[hit] = (start, end)
            mine.append(hit)
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
