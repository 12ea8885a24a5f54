"""Any number of classes at each moment: tools, instruments, actions, verbs, targets, and the critical view of safety.

Average precision needs no threshold and is the usual score; published tables take it over all frames (Cholec80 tools:
Twinanda et al., arXiv 1602.03012; critical view of safety: Murali et al., arXiv 2312.12429) or by video (CholecT50).
Scores that are probabilities are also cut at 0.5, the balanced accuracy and F1 that the literature gives beside it.

Shape letters: N rows, K classes, V videos, R draws of videos.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array, Int64Array, UInt8Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result, Statistic
from surgvl.metrics.average_precision import (
    average_precision,
    classes_over_videos,
    nan_mean,
    video_average_precision,
    videos_then_classes,
    weighted_average_precision,
)
from surgvl.tasks import calibrated, raters
from surgvl.tasks.base import NUM_RANDOM, Inputs, LabelledScores, Scores, Task, means, named, point_estimate

THRESHOLD = 0.5
_PROTOCOLS = {
    "mAP": "AP over all rows as one list, mean over classes that occur",
    "mAP_video": "AP of classes that occur in a video, mean over videos, then over classes",
    "balanced_accuracy": f"rows pooled, cut at {THRESHOLD}; mean of the recalls with and without a class, then over "
    "classes that occur and lack somewhere",
    "macro_f1": f"rows pooled, cut at {THRESHOLD}; mean over classes that occur",
    **calibrated.PROTOCOLS,
    **raters.PROTOCOLS,
}


class MultiLabel(Task[Scores]):
    """Classes that may be present together; the kinds of label are its subclasses.

    Args:
        truth: [N, K], 0 or 1, for each row of the scores.
        labels: description of classes and scores, for the protocol.
        rate_fps: rows per second.
        seed: of the bootstrap and of random scores.
        raters: for each rater behind the truth, the class names that they gave each row, [N]; None where they did not
            look.
        by_text: whether the scores are similarities with sentences, which are no probabilities, whatever their range.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        truth: ArrayLike,
        labels: str = "labels",
        rate_fps: float = 1.0,
        seed: int = 0,
        raters: Sequence[Sequence[list[str] | None]] = (),
        by_text: bool = False,
    ) -> None:
        self.truth = np.asarray(truth)
        self.labels = labels
        self.rate_fps = rate_fps
        self.seed = seed
        self.raters = raters
        self.by_text = by_text

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Scores], Scores]]:
        """Take the classes of each moment; one without any counts as a moment where nothing is present."""
        found: list[tuple[Task[Scores], Scores]] = []
        for group in inputs.clips(cls.kind):
            task = cls._of(group, inputs.seed)
            task.data = group.data
            found.append((task, group.scores))
        return found

    @classmethod
    def _of(cls, group: LabelledScores, seed: int) -> Task[Scores]:
        truth = multi_hot(group.labels, group.scores.class_names)
        return cls(truth, group.protocol, group.rate_fps, seed, group.raters, group.by_text)

    def score(self, predictions: Scores) -> list[Result]:
        """Score predictions.

        Raises:
            DataError: the truth is not 0 or 1 of the shape of the scores, or no class occurs.
        """
        shape = predictions.scores.shape
        if self.truth.shape != shape or not np.isin(self.truth, (0, 1)).all():
            raise DataError(f"{self.kind} truth must be 0 or 1 of shape {shape}, got shape {self.truth.shape}")
        order = predictions.order
        truth, scores = self.truth[order].astype(bool), predictions.scores[order]
        videos = predictions.videos[order]
        if not truth.any():
            raise DataError(f"no {self.kind} occurs in {len(truth)} rows: check the split and the task of the segments")
        num_videos, names = len(predictions.video_names), predictions.class_names
        measure = partial(_statistics, truth=truth, videos=videos)
        generator = np.random.default_rng(self.seed)
        blind = {
            "constant": [np.zeros(shape, np.float32)],
            "random": [generator.random(shape, np.float32) for _ in range(NUM_RANDOM)],
        }
        levels = {name: means([_levels(measure(each), num_videos) for each in said]) for name, said in blind.items()}
        statistics = measure(scores)
        baselines = {name: {each: levels[each][name] for each in levels} for name in statistics}
        per_class = {
            "mAP": average_precision(truth, scores),
            "mAP_video": classes_over_videos(video_average_precision(truth, scores, videos))[0],
        }
        probabilities = not self.by_text and calibrated.are_probabilities(scores, exclusive=False)
        if probabilities or np.isin(scores, (0, 1)).all():
            per_class |= _each(scores, truth)
        else:  # nothing says where to cut
            statistics = {name: each for name, each in statistics.items() if name.startswith("mAP")}
        if probabilities:
            more, certain = calibrated.multi_label_statistics(scores, truth, videos)
            statistics |= more
            baselines |= {name: {calibrated.CERTAIN: value} for name, value in certain.items()}
        if self.raters:
            own = [[rater[at] for at in order] for rater in self.raters]
            of_raters, by_class, by_chance = raters.rater_statistics(own, names, videos)
            statistics, per_class, baselines = statistics | of_raters, per_class | by_class, baselines | by_chance
        results = [
            self.result(
                metric,
                statistic,
                baselines[metric],
                f"{self.labels}, {self.rate_fps:g} fps; {_PROTOCOLS[metric]}",
                bounds=raters.BOUNDS.get(metric, (0.0, 1.0)),
                num_videos=num_videos,
                num_clips=len(truth),
                seed=self.seed,
                video_names=predictions.video_names,
                per_class=named(per_class[metric], names) if metric in per_class else None,
            )
            for metric, statistic in statistics.items()
        ]
        aside = {*raters.PROTOCOLS, *calibrated.PROTOCOLS}
        return [replace(result, detail=result.metric in aside) for result in results]


class Tool(MultiLabel):
    """Which tools are visible."""

    name = kind = "tool"


class Instrument(MultiLabel):
    """Which instruments are visible."""

    name = kind = "instrument"


class Action(MultiLabel):
    """Which actions are done."""

    name = kind = "action"


class Verb(MultiLabel):
    """Which verbs of triplets are done."""

    name = kind = "verb"


class Target(MultiLabel):
    """Which targets of triplets are acted upon."""

    name = kind = "target"


class CriticalView(MultiLabel):
    """Which criteria of the critical view of safety are met, by the majority of the raters."""

    name = kind = "cvs"


def multi_hot(labels: Sequence[Sequence[str]], class_names: Sequence[str]) -> UInt8Array:
    """Multi-hot encoding of the class names of each row: uint8 [N, K]."""
    index = {name: at for at, name in enumerate(class_names)}
    truth = np.zeros((len(labels), len(class_names)), np.uint8)
    for row, names in enumerate(labels):
        truth[row, [index[name] for name in names]] = 1
    return truth


def _statistics(scores: NDArray[np.floating], truth: NDArray[np.bool_], videos: Int64Array) -> dict[str, Statistic]:
    """Each metric as a statistic over draws of videos; rows are ordered by video and time."""
    table = video_average_precision(truth, scores, videos)
    said = scores >= THRESHOLD
    num_videos = int(videos.max()) + 1
    # Right and true, said, true, and all rows of each video and class.
    sums = np.zeros((4, num_videos, truth.shape[1]))
    for at, each in enumerate((truth & said, said, truth, np.ones_like(truth))):
        np.add.at(sums[at], videos, each)

    def cut(weights: Float64Array) -> Float64Array:
        # [R, V] by [4, V, K] -> [4, R, K]
        return np.asarray(weights @ sums)

    return {
        "mAP": lambda weights: nan_mean(weighted_average_precision(truth, scores, videos, weights)),
        "mAP_video": partial(videos_then_classes, table),
        "balanced_accuracy": lambda weights: nan_mean(_balanced(*cut(weights))),
        "macro_f1": lambda weights: nan_mean(_f1(*cut(weights))),
    }


def _each(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> dict[str, Float64Array]:
    """Balanced accuracy and F1 of each class over all rows [K]."""
    said = scores >= THRESHOLD
    sums = [each.sum(axis=0).astype(np.float64) for each in (truth & said, said, truth, np.ones_like(truth))]
    return {"balanced_accuracy": _balanced(*sums), "macro_f1": _f1(*sums)}


def _balanced(hits: Float64Array, said: Float64Array, true: Float64Array, rows: Float64Array) -> Float64Array:
    """Mean recall of a class and of its absence; NaN for a class that is nowhere or everywhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        absent = rows - true
        found: Float64Array = (hits / true + (absent - (said - hits)) / absent) / 2
    return np.where((true > 0) & (absent > 0), found, np.nan)


def _f1(hits: Float64Array, said: Float64Array, true: Float64Array, rows: Float64Array) -> Float64Array:
    """F1 of each class; NaN for one that does not occur."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float64Array = 2 * hits / (said + true)
    return np.where(true > 0, found, np.nan)


def _levels(statistics: dict[str, Statistic], num_videos: int) -> dict[str, float]:
    return {name: point_estimate(statistic, num_videos) for name, statistic in statistics.items()}
