"""Action triplet recognition: average precision of instruments, verbs, targets, their pairs and the whole triplet.

Protocol of CholecT50 (Nwoye and Padoy, arXiv 2204.05235). Video-wise AP and AP over all frames differ by points but are
published under one name; so are those with and without null triplets. All are given here, each under its own name, next
to those of constant and random scores, because many published zero-shot figures are no higher. Probabilities are scored
for calibration, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.core.results import Result
from surgvl.metrics import triplet
from surgvl.metrics.average_precision import (
    average_precision,
    classes_over_videos,
    nan_mean,
    video_average_precision,
    videos_then_classes,
    weighted_average_precision,
)
from surgvl.metrics.triplet import TripletClasses
from surgvl.tasks import calibrated
from surgvl.tasks.base import NUM_RANDOM, LabelledScores, Scores, Task, means, named
from surgvl.tasks.multi_label import MultiLabel, multi_hot

_COMPONENT = "component = maximum over its triplets"
_VIDEO = "AP of classes present in a video, mean over videos, then over classes"


class Triplet(MultiLabel):
    """The triplets of each second.

    Args:
        truth: [N, T], 0 or 1, for each row of the scores.
        labels: description of classes and scores, for the protocol.
        rate_fps: rows per second.
        seed: of the bootstrap and of random scores.
        names: triplets of the columns, CholecT50's hundred by default.
        by_text: whether the scores are similarities with sentences.
    """

    name = "triplet"
    kind = "triplet"

    def __init__(
        self,
        truth: ArrayLike,
        labels: str = "triplets",
        rate_fps: float = 1.0,
        seed: int = 0,
        names: Sequence[str] = TRIPLET_NAMES,
        by_text: bool = False,
    ) -> None:
        super().__init__(truth, labels, rate_fps, seed, by_text=by_text)
        self.classes = TripletClasses.of(tuple(names))

    @classmethod
    def _of(cls, group: LabelledScores, seed: int) -> Task[Scores]:
        names = group.scores.class_names
        return cls(multi_hot(group.labels, names), group.protocol, group.rate_fps, seed, names, group.by_text)

    def score(self, predictions: Scores) -> list[Result]:
        """Score triplet predictions.

        Raises:
            DataError: scores and truth differ in length, or classes are not those of the truth in their order.
        """
        classes = self.classes
        truth, scores, videos = ordered(self.truth, predictions, classes)
        if not truth.any():
            raise DataError(
                f"none of the {len(truth)} rows has a triplet: check the split and the task of the segments"
            )
        num_videos = len(predictions.video_names)
        generator = np.random.default_rng(self.seed)
        parts = {component: triplet.decompose(truth, component, classes) for component, null in _FIGURES if not null}
        constant = _values(parts, np.zeros_like(scores), videos, classes)
        random = means(
            [_values(parts, generator.random(scores.shape, np.float32), videos, classes) for _ in range(NUM_RANDOM)]
        )
        make = partial(
            self.result,
            num_videos=num_videos,
            num_clips=len(truth),
            seed=self.seed,
            video_names=predictions.video_names,
        )
        tables, results = _tables(parts, scores, videos, classes), []
        for component, ignore_null in _FIGURES:
            metric, kept = _metric(component, ignore_null), triplet.kept_columns(component, ignore_null, classes)
            table, names = tables[component][:, kept], np.array(classes.names(component))[kept]
            null = _NO_NULL if ignore_null else ""
            results.append(
                make(
                    metric,
                    partial(videos_then_classes, table),
                    {"constant": constant[metric], "random": random[metric]},
                    f"{self._protocol()}; {_COMPONENT}; {_VIDEO}{null}",
                    per_class=named(classes_over_videos(table)[0], names.tolist()),
                )
            )
        for ignore_null in (False, True):
            metric = _metric("ivt", ignore_null, overall=True)
            kept = triplet.kept_columns("ivt", ignore_null, classes)
            own = truth[:, kept], scores[:, kept]
            results.append(
                make(
                    metric,
                    partial(_global, *own, videos),
                    {"constant": constant[metric], "random": random[metric]},
                    f"{self._protocol()}; AP over all frames as one list, mean over classes present"
                    f"{_NO_NULL if ignore_null else ''}",
                    per_class=named(average_precision(*own), [",".join(classes.triplets[at]) for at in kept]),
                )
            )
        if not self.by_text and calibrated.are_probabilities(scores, exclusive=False):
            statistics, certain = calibrated.multi_label_statistics(scores, truth, videos)
            for metric, statistic in statistics.items():
                told = f"{self._protocol()}; {calibrated.PROTOCOLS[metric]}, mean over triplets"
                found = make(metric, statistic, {calibrated.CERTAIN: certain[metric]}, told)
                results.append(replace(found, detail=True))
        return results

    def _protocol(self) -> str:
        return f"{self.labels}, {self.rate_fps:g} fps"


_FIGURES = (*((component, False) for component in ("ivt", "i", "v", "t", "iv", "it")), ("ivt", True))


_NO_NULL = ", without null triplets"


def _metric(component: str, ignore_null: bool, overall: bool = False) -> str:
    return f"mAP_{component.upper()}{'_global' if overall else ''}{'_no_null' if ignore_null else ''}"


def _global(
    truth: NDArray[np.bool_], scores: NDArray[np.floating], videos: Int64Array, weights: Float64Array
) -> Float64Array:
    return nan_mean(weighted_average_precision(truth, scores, videos, weights))


def _values(
    truth: Mapping[str, NDArray[np.generic]], scores: NDArray[np.floating], videos: Int64Array, classes: TripletClasses
) -> dict[str, float]:
    tables, overall = _tables(truth, scores, videos, classes), average_precision(truth["ivt"], scores)
    kept = {each: triplet.kept_columns(*each, classes) for each in _FIGURES}
    found = {_metric(*each): float(videos_then_classes(tables[each[0]][:, kept[each]])[0]) for each in _FIGURES}
    return found | {
        _metric("ivt", null, overall=True): float(nan_mean(overall[kept["ivt", null]])) for null in (False, True)
    }


def _tables(
    truth: Mapping[str, NDArray[np.generic]], scores: NDArray[np.floating], videos: Int64Array, classes: TripletClasses
) -> dict[str, Float64Array]:
    """AP per video and class of each component [V, K], whose truth is given; null triplets are left out later."""
    return {
        component: video_average_precision(labels, triplet.decompose(scores, component, classes), videos)
        for component, labels in truth.items()
    }


def ordered(
    truth: NDArray[np.generic], predictions: Scores, classes: TripletClasses
) -> tuple[NDArray[np.bool_], NDArray[np.floating], Int64Array]:
    """Truth, scores and video indices, ordered by video and time.

    Raises:
        DataError: classes are not those of the truth in their order, or the truth is not [N, T] of 0 and 1.
    """
    names = [",".join(each) for each in classes.triplets]
    if list(predictions.class_names) != names:
        pairs = zip(predictions.class_names, names, strict=False)
        wrong = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), f"{len(predictions.class_names)} classes")
        raise DataError(f"score columns must be the {len(names)} triplets in order ({wrong}): use a triplet prompt set")
    shape = (len(predictions.video_ids), len(names))
    if truth.shape != shape or not np.isin(truth, (0, 1)).all():
        raise DataError(
            f"triplet truth must be 0 or 1 of shape {shape}, one row per score row; got shape {truth.shape}"
        )
    order = predictions.order
    return truth[order].astype(bool), predictions.scores[order], predictions.videos[order]
