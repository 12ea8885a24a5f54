"""True and predicted boxes of the same labelled frames, from a manifest and files.

A labelled frame is the time of a box, or of a `rated` segment, which frames without a box have, too. All of those of a
video that a file predicts are scored: a frame without a predicted box is one where the model sees nothing.

Shape letters: M boxes, F frames, V videos, K classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.box_predictions import BoxPredictions
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError
from surgvl.core.ontology import RATED, rated_kind
from surgvl.metrics.detection import Boxes
from surgvl.tasks.predicted_classes import class_key, described
from surgvl.tasks.truth import Labels

_ROUNDING_S = 1e-3


@dataclass(frozen=True)
class LabelledBoxes:
    """True and predicted boxes of videos that share a list of classes.

    Attributes:
        truth: true boxes.
        predicted: predicted boxes of the same frames.
        class_names: [K].
        video_names: [V].
        num_frames: labelled frames of these videos.
        protocol: description of labels and predictions.
        data: sources of the videos, if those of other sources are scored separately; otherwise empty.
    """

    truth: Boxes
    predicted: Boxes
    class_names: Sequence[str]
    video_names: Sequence[str]
    num_frames: int
    protocol: str
    data: str = ""


@dataclass(frozen=True)
class TrueBoxes:
    """Labelled frames and their boxes.

    Attributes:
        video_names: [V].
        videos: video of each frame, int64 [F], ascending.
        starts_s: float64 [F], ascending in a video.
        ends_s: float64 [F].
        boxes: the true boxes.
    """

    video_names: Sequence[str]
    videos: Int64Array
    starts_s: Float64Array
    ends_s: Float64Array
    boxes: Boxes

    def frame_at(self, video: int, time_s: float) -> int:
        """Number of the labelled frame at a time, -1 for none."""
        low, high = np.searchsorted(self.videos, (video, video + 1)).tolist()
        at = low + int(np.searchsorted(self.starts_s[low:high], time_s + _ROUNDING_S)) - 1
        return at if at >= low and time_s < self.ends_s[at] else -1


def true_boxes(labels: Labels, kind: str, class_names: Sequence[str], video_ids: Collection[str]) -> TrueBoxes:
    """The labelled frames of some videos, and their boxes.

    Args:
        labels: with segments of a kind and `rated` ones.
        kind: such as `triplet_box`.
        class_names: of the kind.
        video_ids: the videos.

    Raises:
        DataError: a segment has no box.
    """
    table = labels.segment_table
    wanted = pc.is_in(table["video_id"], value_set=pa.array(sorted(video_ids), pa.string()))
    kinds = pc.is_in(table["task"], value_set=pa.array([kind, rated_kind(kind)], pa.string()))
    rows = table.filter(pc.and_(wanted, kinds)).to_pylist()
    names = sorted({row["video_id"] for row in rows})
    number = {name: at for at, name in enumerate(names)}
    spans = {(number[row["video_id"]], row["start_s"]): row["end_s"] for row in rows}
    keys = sorted(spans)
    frame = {key: at for at, key in enumerate(keys)}
    index = {name: at for at, name in enumerate(class_names)}
    boxed = [row for row in rows if row["label"] != RATED]
    places = []
    for row in boxed:
        try:
            places.append([float(value) for value in row["xywh"].split(",")])
        except ValueError:
            places.append([])
        if len(places[-1]) != 4:
            where = f"{kind} {row['label']} of {row['video_id']} at {row['start_s']:g} s"
            raise DataError(f"{where} has box {row['xywh']!r}; it must be x,y,w,h: correct the segments")
    videos = np.array([number[row["video_id"]] for row in boxed], np.int64)
    boxes = Boxes(
        np.array([frame[number[row["video_id"]], row["start_s"]] for row in boxed], np.int64),
        videos,
        np.array([index[row["label"]] for row in boxed], np.int64),
        np.array(places, np.float64).reshape(-1, 4),
        np.ones(len(boxed)),
    )
    of = np.array([video for video, _ in keys], np.int64)
    starts_s = np.array([start for _, start in keys], np.float64)
    return TrueBoxes(names, of, starts_s, np.array([spans[key] for key in keys], np.float64), boxes)


def no_boxes() -> Boxes:
    """No box at all."""
    none = np.zeros(0, np.int64)
    return Boxes(none, none, none, np.zeros((0, 4)), np.zeros(0))


def join_boxes(
    labels: Labels,
    files: Sequence[tuple[Path, BoxPredictions]],
    kind: str,
    class_names: Sequence[str],
    video_ids: Collection[str],
    split: str,
    several: bool,
    facts: list[str],
) -> LabelledBoxes:
    """Predicted and true boxes of videos that share a list of classes.

    Args:
        labels: of the split.
        files: predictions, each of its own videos.
        kind: such as `triplet_box`.
        class_names: of the kind.
        video_ids: labelled videos that a file predicts.
        split: description of the split, for the protocol.
        several: whether there are other lists of classes.
        facts: takes what has no counterpart.
    """
    true = true_boxes(labels, kind, class_names, video_ids)
    boxes, num_moments, num_outside = predicted_boxes(files, true, kind, class_names)
    if num_outside:
        facts.append(f"{num_outside:,} of {num_moments:,} predicted moments are not labelled frames, left out")
    sources = " and ".join(sorted({row.source for row in labels.videos if row.video_id in video_ids}))
    protocol = f"{split} of {sources}, {described(files)}"
    data = sources if several else ""
    return LabelledBoxes(true.boxes, boxes, class_names, true.video_names, len(true.videos), protocol, data)


def predicted_boxes(
    files: Sequence[tuple[Path, BoxPredictions]], true: TrueBoxes, kind: str, class_names: Sequence[str]
) -> tuple[Boxes, int, int]:
    """The predicted boxes in labelled frames.

    Returns:
        The boxes, how many moments of the videos were predicted, and how many of them are not labelled frames.

    Raises:
        DataError: an unknown class, or two moments in one labelled frame.
    """
    index = {class_key(name): at for at, name in enumerate(class_names)}
    number = {name: at for at, name in enumerate(true.video_names)}
    rows: list[list[float]] = []
    moments: dict[tuple[int, float], int] = {}
    for path, each in files:
        time_of: dict[int, float] = {}
        for at, (name, time_s, label) in enumerate(
            zip(each.video_ids, each.times_s.tolist(), each.labels, strict=True)
        ):
            if name not in number:
                continue
            video = number[name]
            if (video, time_s) not in moments:
                moments[video, time_s] = true.frame_at(video, time_s)
            frame = moments[video, time_s]
            if frame < 0:
                continue
            if time_of.setdefault(frame, time_s) != time_s:
                raise DataError(
                    f"{path}: {name} has predictions at {time_of[frame]:g} s and {time_s:g} s, both in the labelled "
                    f"frame at {true.starts_s[frame]:g} s: give one moment for each frame"
                )
            if label:
                if class_key(label) not in index:
                    hint = did_you_mean(label, class_names, "rename it")
                    raise DataError(
                        f"{path}: label {label!r} of {name} at {time_s:g} s is not a class of {kind}: {hint}"
                    )
                rows.append([frame, video, index[class_key(label)], *each.xywh[at], each.scores[at]])
    table = np.array(rows, np.float64).reshape(-1, 8)
    frames, videos, classes = table[:, :3].T.astype(np.int64)
    boxes = Boxes(frames, videos, classes, table[:, 3:7], table[:, 7])
    return boxes, len(moments), sum(frame < 0 for frame in moments.values())
