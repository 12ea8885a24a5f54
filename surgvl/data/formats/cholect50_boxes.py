"""Boxes of CholecT50's label files: only those of the challenge's validation clips have any, in others they are -1.

Shape letters: M instances with a box.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.data.formats.box_labels import Instance
from surgvl.data.formats.text_files import short_repr

_LENGTH = 15


@dataclass(frozen=True)
class InstanceBoxes:
    """Instances with a box, in order of frames.

    Attributes:
        frames: frame numbers, int64 [M].
        triplets: triplet ids, -1 for none, int64 [M].
        instruments: instrument ids, int64 [M].
        xywh: left, top, width and height as parts of the picture, float64 [M, 4].
        num_without: instances without a box.
        seconds: of all frames of the file, with an instance or without, float64 [F].
        fps: frames per second.
    """

    frames: Int64Array
    triplets: Int64Array
    instruments: Int64Array
    xywh: Float64Array
    num_without: int
    seconds: Float64Array
    fps: float


def read_instance_boxes(path: Path) -> InstanceBoxes:
    """Read the boxes of `VIDxx.json`.

    Raises:
        DataError: a different layout, or a box with a coordinate outside of 0 to 1.
    """
    record = read_json(path)
    frames = record.get("annotations") if isinstance(record, dict) else None
    if not isinstance(frames, dict):
        raise DataError(f"{path} has no 'annotations' by frame, so it is not a CholecT50 label file")
    rows: list[list[float]] = []
    num_without = 0
    for key, instances in frames.items():
        for vector in instances:
            numbers = isinstance(vector, list) and all(type(value) in (int, float) for value in vector)
            if not key.isdecimal() or not numbers or len(vector) != _LENGTH:
                fact = f"frame {short_repr(key)}: an instance must be {_LENGTH} numbers"
                raise DataError(f"{path}, {fact}, got {short_repr(vector)}: correct the file")
            box = vector[3:7]
            if -1 in box:
                # A null vector, of a frame without instruments, has no instrument either.
                num_without += vector[1] >= 0
                continue
            # A published box may reach over the edge of the picture, by up to 1.2 % of it.
            if min(box) < 0 or max(box) > 1:
                raise DataError(f"{path}, frame {key}: box {short_repr(box)} is not within 0 to 1: correct the file")
            rows.append([int(key), vector[0], vector[1], *box])
    table = np.array(sorted(rows, key=lambda row: row[0]), np.float64).reshape(-1, 7)
    ids = table[:, :3].astype(np.int64)
    fps = float(record.get("fps", 1))
    seconds = np.array(sorted(map(int, frames)), np.float64) / fps
    return InstanceBoxes(ids[:, 0], ids[:, 1], ids[:, 2], table[:, 3:], num_without, seconds, fps)


def frames_of(
    boxes: InstanceBoxes, triplets: Mapping[int, str], instruments: Mapping[int, str]
) -> dict[float, list[Instance]]:
    """The instances of each frame by name.

    Args:
        boxes: of a file.
        triplets: id -> name.
        instruments: id -> name.
    """
    found: dict[float, list[Instance]] = {second: [] for second in boxes.seconds.tolist()}
    for at, frame in enumerate(boxes.frames.tolist()):
        named = (("triplet", boxes.triplets, triplets), ("instrument", boxes.instruments, instruments))
        labels = {kind: names[int(ids[at])] for kind, ids, names in named if int(ids[at]) in names}
        found[frame / boxes.fps].append(Instance(boxes.xywh[at].tolist(), labels))
    return found
