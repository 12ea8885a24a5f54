"""Boxes of instruments, and of triplets at their instrument: average precision, and how triplets and boxes go together.

CholecTriplet2022 (Nwoye et al., arXiv 2302.06294): AP at an overlap of 0.5, for each video and then for each class, and
seven association scores, which tell whether the place, the identity or both of a triplet are wrong. A ranking by frame,
as ivtmetrics has it, is given in detail, since published figures have it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.results import Result, Statistic, video_mean
from surgvl.metrics.association import ASSOCIATIONS, association_counts, association_shares
from surgvl.metrics.average_precision import classes_over_videos, videos_then_classes
from surgvl.metrics.detection import OVERLAP, Boxes, RankedBy, detection_average_precision
from surgvl.metrics.triplet import TripletClasses
from surgvl.tasks.base import Inputs, Task, named, point_estimate
from surgvl.tasks.boxes import no_boxes

_AP = "eleven-point AP of classes present in a video, mean over videos, then over classes"
_RANKED: dict[str, tuple[RankedBy, str]] = {
    "": ("score", "boxes ranked by score"),
    "_by_frame": (
        "frame",
        "boxes ranked by frame, then by score, as ivtmetrics does",
    ),
}


class Detection(Task[Boxes]):
    """Boxes in labelled frames; the kinds of label are its subclasses.

    Args:
        truth: true boxes.
        class_names: [K].
        video_names: [V].
        num_frames: labelled frames.
        labels: description of classes and boxes, for the protocol.
        seed: of the bootstrap.
    """

    version = 1

    def __init__(
        self,
        truth: Boxes,
        class_names: Sequence[str],
        video_names: Sequence[str],
        num_frames: int,
        labels: str = "boxes",
        seed: int = 0,
    ) -> None:
        self.truth = truth
        self.class_names = class_names
        self.video_names = video_names
        self.num_frames = num_frames
        self.labels = labels
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Boxes], Boxes]]:
        """Take the true and predicted boxes of labelled frames."""
        found: list[tuple[Task[Boxes], Boxes]] = []
        for each in inputs.boxes(cls.kind):
            task = cls(each.truth, each.class_names, each.video_names, each.num_frames, each.protocol, inputs.seed)
            task.data = each.data
            found.append((task, each.predicted))
        return found

    def score(self, predictions: Boxes) -> list[Result]:
        """Score predicted boxes.

        Raises:
            DataError: there is no true box, or a class is not one of the classes.
        """
        num_videos = len(self.video_names)
        make = partial(
            self.result,
            num_videos=num_videos,
            num_clips=self.num_frames,
            seed=self.seed,
            video_names=self.video_names,
        )
        results = []
        for prefix, truth, predicted, names in self._components(predictions):
            for suffix, (ranked_by, words) in _RANKED.items():
                table = np.full((num_videos, len(names)), np.nan)
                found = detection_average_precision(truth, predicted, len(names), ranked_by=ranked_by)
                table[: len(found)] = found
                result = make(
                    f"{prefix}_{100 * OVERLAP:.0f}{suffix}",
                    partial(videos_then_classes, table),
                    {"no boxes": 0.0},
                    f"{self.labels}; overlap of at least {OVERLAP:g}, {words}; {_AP}",
                    per_class=named(classes_over_videos(table)[0], names),
                )
                results.append(replace(result, detail=bool(suffix)))
        mine, nothing = self._associations(predictions), self._associations(no_boxes())
        for metric, statistic in mine.items():
            what = ASSOCIATIONS[metric.rpartition("_")[2]]
            words = f"share of boxes, mean over videos; {what}"
            blind = {"no boxes": point_estimate(nothing[metric], num_videos)}
            results.append(make(metric, statistic, blind, f"{self.labels}; overlap of at least {OVERLAP:g}; {words}"))
        return results

    def _components(self, predicted: Boxes) -> list[tuple[str, Boxes, Boxes, Sequence[str]]]:
        """Name of the metric, true and predicted boxes, and classes, for what is scored."""
        return [("mAP", self.truth, predicted, self.class_names)]

    def _associations(self, predicted: Boxes) -> dict[str, Statistic]:
        """The association scores as statistics over draws of videos."""
        return {}


class InstrumentDetection(Detection):
    """Instruments and their boxes."""

    name = "instrument_detection"
    kind = "instrument_box"


class TripletDetection(Detection):
    """Triplets, each at the box of its instrument."""

    name = "triplet_detection"
    kind = "triplet_box"

    def _components(self, predicted: Boxes) -> list[tuple[str, Boxes, Boxes, Sequence[str]]]:
        """The whole triplet, and its instrument, whose box counts once where it acts in several triplets."""
        classes = TripletClasses.of(tuple(self.class_names))
        true, said = (_as_instruments(each, classes) for each in (self.truth, predicted))
        return [
            ("mAP_IVT", self.truth, predicted, self.class_names),
            ("mAP_I", true, said, classes.names("i")),
        ]

    def _associations(self, predicted: Boxes) -> dict[str, Statistic]:
        shares: Float64Array = np.full((len(self.video_names), len(ASSOCIATIONS)), np.nan)
        found = association_shares(association_counts(self.truth, predicted))
        shares[: len(found)] = found
        return {f"association_{name}": video_mean(shares[:, at]) for at, name in enumerate(ASSOCIATIONS)}


def _as_instruments(boxes: Boxes, classes: TripletClasses) -> Boxes:
    """Boxes of triplets as boxes of their instruments; of equal ones, the most certain."""
    instruments = classes.ids("i")[boxes.classes]
    keys = np.column_stack([boxes.frames, instruments, boxes.xywh])
    order = np.argsort(-boxes.scores, kind="stable")
    kept = np.sort(order[np.unique(keys[order], axis=0, return_index=True)[1]])
    return Boxes(boxes.frames[kept], boxes.videos[kept], instruments[kept], boxes.xywh[kept], boxes.scores[kept])
