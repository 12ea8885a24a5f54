"""Boxes of labelled frames as segments: one for each box, and one for each frame that annotators looked at.

Kinds are `instrument_box` and `triplet_box`, where an instance has one. A frame without a box is labelled, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.ontology import RATED, box_kind, rated_kind
from surgvl.data.manifest import Segment
from surgvl.data.spans import round_time

_ROUNDING_S = 1e-3


class Instance(NamedTuple):
    """What a box shows.

    Attributes:
        xywh: left, top, width and height as parts of the picture.
        labels: kind of label (`instrument`, `triplet`) -> class.
    """

    xywh: Sequence[float]
    labels: Mapping[str, str]


def box_segments(
    video_id: str,
    frames: Mapping[float, Sequence[Instance]],
    kinds: Sequence[str],
    length_s: float,
    duration_s: float,
    times_s: Float64Array | None,
) -> list[Segment]:
    """Segments of one video.

    Args:
        video_id: the video.
        frames: second -> the instances with a box; a frame without any was looked at, and shows none.
        kinds: of label that instances may have.
        length_s: how long a frame lasts.
        duration_s: of the video; later frames are left out.
        times_s: time in the operation of each picture of a frame folder, see `surgvl.data.formats.pictures`.
    """
    found = []
    for second, instances in sorted(frames.items()):
        start_s, end_s = second, second + length_s
        if times_s is not None:
            at = int(np.searchsorted(times_s, second - _ROUNDING_S))
            if at == len(times_s) or times_s[at] >= end_s - _ROUNDING_S:
                continue
            start_s, end_s = float(at), at + 1.0
        if start_s >= duration_s:
            continue
        span: dict[str, Any] = {"video_id": video_id, "start_s": round_time(start_s)}
        span["end_s"] = round_time(min(end_s, duration_s))
        for kind in kinds:
            found.append(Segment(**span, task=rated_kind(box_kind(kind)), label=RATED))
            for instance in instances:
                if kind in instance.labels:
                    xywh = ",".join(f"{value:.6g}" for value in instance.xywh)
                    found.append(Segment(**span, task=box_kind(kind), label=instance.labels[kind], xywh=xywh))
    return found
