"""Action triplet recognition: average precision of instruments, verbs, targets, their pairs and the whole triplet.

Protocol of CholecT50 (Nwoye and Padoy, arXiv 2204.05235). Video-wise AP and AP over all frames differ by points but are
published under one name; so are those with and without null triplets. All are given here, each under its own name, next
to those of constant and random scores, because many published zero-shot figures are no higher.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array, Int64Array, UInt8Array
from surgvl.core.errors import DataError
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.core.results import Result
from surgvl.metrics import triplet
from surgvl.metrics.average_precision import (
    average_precision,
    classes_over_videos,
    nan_mean,
    videos_then_classes,
    weighted_average_precision,
)
from surgvl.tasks.base import NUM_RANDOM, Inputs, Scores, Task, means

_COMPONENT = "component = maximum over its triplets"
_VIDEO = "AP of classes present in a video, mean over videos, then over classes"


class Triplet(Task[Scores]):
    """The hundred triplets of CholecT50 at each second.

    Args:
        truth: [N, 100], 0 or 1, for each row of the scores.
        labels: description of classes and scores, for the protocol.
        rate_fps: rows per second.
        seed: of the bootstrap and of random scores.
    """

    name = "triplet"
    version = 1
    kind = "triplet"

    def __init__(self, truth: ArrayLike, labels: str = "triplets", rate_fps: float = 1.0, seed: int = 0) -> None:
        self.truth = np.asarray(truth)
        self.labels = labels
        self.rate_fps = rate_fps
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Scores], Scores]]:
        """Take the triplets of each second."""
        found: list[tuple[Task[Scores], Scores]] = []
        for group in inputs.clips(cls.kind):
            task = cls(multi_hot(group.labels), group.protocol, inputs.rate_fps, inputs.seed)
            task.data = group.data
            found.append((task, group.scores))
        return found

    def score(self, predictions: Scores) -> list[Result]:
        """Score triplet predictions.

        Raises:
            DataError: scores and truth differ in length, or classes are not CholecT50's in their order.
        """
        truth, scores, videos = ordered(self.truth, predictions)
        if not truth.any():
            raise DataError(
                f"none of the {len(truth)} rows has a triplet: check the split and the task of the segments"
            )
        num_videos = len(predictions.video_names)
        generator = np.random.default_rng(self.seed)
        constant = _values(truth, np.zeros_like(scores), videos)
        draws = [_values(truth, generator.random(scores.shape, np.float32), videos) for _ in range(NUM_RANDOM)]
        random = means(draws)
        make = partial(self.result, num_videos=num_videos, num_clips=len(truth), seed=self.seed)
        results = []
        for component, ignore_null in _FIGURES:
            metric = _metric(component, ignore_null)
            table = triplet.video_table(truth, scores, videos, component, ignore_null=ignore_null)
            null = ", without null triplets" if ignore_null else ""
            results.append(
                make(
                    metric,
                    partial(videos_then_classes, table),
                    {"constant": constant[metric], "random": random[metric]},
                    f"{self._protocol()}; {_COMPONENT}; {_VIDEO}{null}",
                    per_class=_named(classes_over_videos(table)[0], triplet.component_names(component)),
                )
            )
        results.append(
            make(
                "mAP_IVT_global",
                lambda weights: nan_mean(weighted_average_precision(truth, scores, videos, weights)),
                {"constant": constant["mAP_IVT_global"], "random": random["mAP_IVT_global"]},
                f"{self._protocol()}; AP over all frames as one list, mean over classes present",
                per_class=_named(average_precision(truth, scores), TRIPLET_NAMES),
            )
        )
        return results

    def _protocol(self) -> str:
        return f"{self.labels}, {self.rate_fps:g} fps"


_FIGURES = (*((component, False) for component in ("ivt", "i", "v", "t", "iv", "it")), ("ivt", True))


def _metric(component: str, ignore_null: bool) -> str:
    return f"mAP_{component.upper()}{'_no_null' if ignore_null else ''}"


def _values(truth: NDArray[np.bool_], scores: NDArray[np.floating], videos: Int64Array) -> dict[str, float]:
    found = {
        _metric(component, null): triplet.video_map(truth, scores, videos, component, ignore_null=null)
        for component, null in _FIGURES
    }
    return found | {"mAP_IVT_global": triplet.global_map(truth, scores, "ivt", ignore_null=False)}


def multi_hot(labels: Sequence[Sequence[str]]) -> UInt8Array:
    """Multi-hot encoding of the triplet names of each row: uint8 [N, 100]."""
    index = {name: at for at, name in enumerate(TRIPLET_NAMES)}
    truth = np.zeros((len(labels), len(TRIPLET_NAMES)), np.uint8)
    for row, names in enumerate(labels):
        truth[row, [index[name] for name in names]] = 1
    return truth


def ordered(
    truth: NDArray[np.generic], predictions: Scores
) -> tuple[NDArray[np.bool_], NDArray[np.floating], Int64Array]:
    """Truth, scores and video indices, ordered by video and time.

    Raises:
        DataError: classes are not CholecT50's in their order, or the truth is not [N, 100] of 0 and 1.
    """
    if list(predictions.class_names) != list(TRIPLET_NAMES):
        pairs = zip(predictions.class_names, TRIPLET_NAMES, strict=False)
        wrong = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), f"{len(predictions.class_names)} classes")
        raise DataError(
            f"score columns must be the {len(TRIPLET_NAMES)} triplets in order ({wrong}): use a triplet prompt set"
        )
    shape = (len(predictions.video_ids), len(TRIPLET_NAMES))
    if truth.shape != shape or not np.isin(truth, (0, 1)).all():
        raise DataError(
            f"triplet truth must be 0 or 1 of shape {shape}, one row per score row; got shape {truth.shape}"
        )
    order = predictions.order
    return truth[order].astype(bool), predictions.scores[order], predictions.videos[order]


def _named(values: Float64Array, names: Sequence[str]) -> dict[str, float]:
    """Scores by class name, without classes that do not occur (excluded null classes come last)."""
    return {name: float(value) for name, value in zip(names, values, strict=False) if np.isfinite(value)}
