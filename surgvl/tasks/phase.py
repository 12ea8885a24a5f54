"""Phase recognition: the highest-scoring class at each second against the surgeon's label.

Published tables average in different ways and call all of them F1; each way has its own name here. Scoring is strict:
errors near transitions count. Scores with relaxed boundaries, which ignore them, are added on request. Cholec80:
Twinanda et al., arXiv 1602.03012; zero-shot protocol of SurgVLP: Yuan et al., arXiv 2307.15220.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.metrics import classify, temporal
from surgvl.metrics.classify import Average, over_pooled_rows, over_videos, over_videos_then_classes
from surgvl.metrics.relaxed import BOUNDARY_S, Mode, relaxed_scores
from surgvl.tasks import calibrated
from surgvl.tasks.base import NUM_RANDOM, Inputs, LabelledScores, Scores, Task, means, named, point_estimate

_BY_PHASE = "for each video with the phase, then mean over videos, then over phases"
_BY_VIDEO = "for each video over classes in truth or prediction, undefined counts as 0, then mean over videos"
_POOLED = "frames pooled; mean over classes in the truth, undefined counts as 0"
_SEGMENTS = "segments with at least this overlap in per cent are hits, counts pooled over videos (MS-TCN)"
_PROTOCOLS = {
    "accuracy": "mean over videos",
    "accuracy_pooled": "frames pooled",
    "precision": f"{_BY_PHASE}; 0 where it is never predicted",
    "recall": _BY_PHASE,
    "f1": f"{_BY_PHASE}; 0 where it is never predicted",
    "jaccard": _BY_PHASE,
    "precision_m2cai": f"{_BY_PHASE}; videos in which it is never predicted are left out (M2CAI16's script)",
    "f1_m2cai": f"{_BY_PHASE}; videos in which it is never right are left out (M2CAI16's script)",
    "precision_video": _BY_VIDEO,
    "recall_video": _BY_VIDEO,
    "macro_f1_video": f"{_BY_VIDEO} (SurgVLP, SurgMotion)",
    "jaccard_video": _BY_VIDEO,
    "precision_pooled": _POOLED,
    "balanced_accuracy": "frames pooled; mean recall of classes in the truth",
    "macro_f1": _POOLED,
    "jaccard_pooled": _POOLED,
    "weighted_f1": "frames pooled; classes weighted by their frames",
    "edit": "order of segments, mean over videos",
    **calibrated.PROTOCOLS,
    **dict.fromkeys(("segment_f1_10", "segment_f1_25", "segment_f1_50"), _SEGMENTS),
}
_MAIN = ("accuracy", "macro_f1", "macro_f1_video", "jaccard", "edit", "segment_f1_10", "segment_f1_25", "segment_f1_50")
_RELAXED = {
    "accuracy": "mean over videos",
    **dict.fromkeys(("precision", "recall", "f1", "jaccard"), f"{_BY_PHASE}, each cut to 1"),
}
_UNDEFINED = {
    "symmetric": "; undefined counts as 0",
    "m2cai_matlab": "; videos in which it is undefined are left out",
}
OVERLAPS = (0.10, 0.25, 0.50)


class Phase(Task[Scores]):
    """One phase for each second of a video.

    Args:
        truth: int [N], the class of each row of the scores; -1 excludes a row.
        majority: class of the constant baseline, chosen on training videos; None for the most frequent class of the
            truth, which favours the baseline.
        window_s: window of the moving average over the scores; 0 for none.
        causal: whether to average over the past only.
        labels: description of classes and scores, for the protocol.
        rate_fps: rows per second.
        seed: of the bootstrap and of random predictions.
        relaxed: rule of relaxed boundaries (see `metrics.relaxed`), whose scores are added; empty for none.
        prior: [C], how long each class lasts in training videos; the `prior` baseline draws classes so often. Without
            it there is none.
    """

    name = "phase"
    version = 1
    kind = "phase"
    MAIN: ClassVar[tuple[str, ...]] = _MAIN
    PROTOCOLS: ClassVar[dict[str, str]] = _PROTOCOLS
    # Of metrics that are not in 0 ... 1.
    BOUNDS: ClassVar[dict[str, tuple[float, float]]] = {}
    # What the class of the constant baseline is among those of the training videos.
    MAJORITY: ClassVar[str] = "longest"

    def __init__(
        self,
        truth: ArrayLike,
        majority: int | None = None,
        window_s: float = 0.0,
        causal: bool = False,
        labels: str = "phases",
        rate_fps: float = 1.0,
        seed: int = 0,
        relaxed: Mode | Literal[""] = "",
        prior: Sequence[float] = (),
    ) -> None:
        self.prior = prior
        self.truth = np.asarray(truth)
        self.majority = majority
        self.window_s = window_s
        self.causal = causal
        self.labels = labels
        self.rate_fps = rate_fps
        self.seed = seed
        self.relaxed = relaxed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Scores], Scores]]:
        """Take the phase of each second; the constant baseline predicts the longest phase of the training split."""
        return [cls._of(group, inputs) for group in inputs.clips(cls.kind)]

    @classmethod
    def _of(cls, group: LabelledScores, inputs: Inputs) -> tuple[Task[Scores], Scores]:
        scores, labels = group.scores, group.labels
        index = {name: at for at, name in enumerate(scores.class_names)}
        truth = np.full(len(labels), -1)
        for row, names in enumerate(labels):
            if len(names) > 1:
                where = f"{scores.video_ids[row]} at {scores.times_s[row]} s"
                raise DataError(f"{where} is in two {cls.kind}s, {' and '.join(names)}: correct the segments")
            if names:
                truth[row] = index[names[0]]
        seconds = group.training_seconds
        majority = index[max(seconds, key=lambda name: (seconds[name], name))] if seconds else None
        labels_told = group.protocol
        if majority is not None:
            labels_told += f", majority: {scores.class_names[majority]} (the {cls.MAJORITY} of the training videos)"
        how = inputs.window_s, inputs.causal, labels_told, group.rate_fps, inputs.seed
        prior = [seconds.get(name, 0.0) for name in scores.class_names] if seconds else []
        task = cls(truth, majority, *how, relaxed=inputs.relaxed, prior=prior)
        task.data = group.data
        return task, scores

    def score(self, predictions: Scores) -> list[Result]:
        """Score phase predictions.

        Raises:
            DataError: scores and truth differ in length, a class id is unknown, or no row has a label.
        """
        if self.truth.shape != (len(predictions.video_ids),):
            raise DataError(
                f"{len(predictions.video_ids)} score rows for truth of shape {self.truth.shape}: lengths must be equal"
            )
        order = predictions.order
        scores = temporal.smooth(
            predictions.scores[order],
            predictions.times_s[order],
            predictions.videos[order],
            self.window_s,
            self.causal,
        )
        kept = self.truth[order] >= 0
        if not kept.any():
            raise DataError(
                f"none of the {len(kept)} rows has a {self.kind}: check the split and the task of the segments"
            )
        truth, predicted = self.truth[order][kept], scores.argmax(axis=1)[kept]
        names, videos = np.unique(predictions.videos[order][kept], return_inverse=True)
        num_classes, num_videos = len(predictions.class_names), len(names)
        video_names = [predictions.video_names[at] for at in names]

        measure = partial(self.measure, truth, videos=videos, num_classes=num_classes)
        constant = int(np.bincount(truth).argmax()) if self.majority is None else self.majority
        generator = np.random.default_rng(self.seed)
        random = [generator.integers(0, num_classes, len(truth)) for _ in range(NUM_RANDOM)]
        blind = {
            "majority (of test)" if self.majority is None else "majority": [np.full(len(truth), constant)],
            "random": random,
        }
        if len(self.prior):
            shares = np.asarray(self.prior, np.float64) / sum(self.prior)
            blind["prior"] = [generator.choice(num_classes, len(truth), p=shares) for _ in range(NUM_RANDOM)]
        baselines = {name: means([_levels(measure(each), num_videos) for each in said]) for name, said in blind.items()}
        results = []
        for metric, average in measure(predicted).items():
            found = self.result(
                metric,
                average.statistic,
                {name: table[metric] for name, table in baselines.items() if np.isfinite(table[metric])},
                self._protocol(metric),
                num_videos=num_videos,
                num_clips=len(truth),
                seed=self.seed,
                per_class=None if average.per_class is None else named(average.per_class, predictions.class_names),
                bounds=self.BOUNDS.get(metric, (0.0, 1.0)),
                video_names=video_names,
            )
            sd_videos, sd_classes, detail = average.sd_videos, average.sd_classes, metric not in self.MAIN
            results.append(dataclasses.replace(found, sd_videos=sd_videos, sd_classes=sd_classes, detail=detail))
        if calibrated.are_probabilities(scores[kept], exclusive=True):
            statistics, certain = calibrated.exclusive_statistics(scores[kept], truth, videos)
            for metric, statistic in statistics.items():
                found = self.result(
                    metric,
                    statistic,
                    {calibrated.CERTAIN: certain[metric]},
                    self._protocol(metric),
                    num_videos=num_videos,
                    num_clips=len(truth),
                    seed=self.seed,
                    bounds=(0.0, 2.0 if metric == "brier" else 1.0),
                    video_names=video_names,
                )
                results.append(dataclasses.replace(found, detail=True))
        return results

    def measure(
        self, truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int
    ) -> dict[str, Average]:
        """Each metric of predicted classes; rows are ordered by video and time."""
        strict = _strict(truth, predicted, videos, num_classes)
        if not self.relaxed:
            return strict
        return strict | _relaxed(truth, predicted, videos, num_classes, self.rate_fps, self.relaxed)

    def _protocol(self, metric: str) -> str:
        smoothing = "no smoothing"
        if self.window_s:
            smoothing = f"{'causal' if self.causal else 'centred'} mean over {self.window_s:g} s"
        name, relaxed, _ = metric.partition("_relaxed_")
        rule, own = "strict", self.PROTOCOLS[name]
        if relaxed:
            rule = f"boundaries relaxed by {BOUNDARY_S:g} s ({self.relaxed})"
            own = _RELAXED[name] + (_UNDEFINED[self.relaxed] if name in ("precision", "f1") else "")
        return f"{self.labels}, {self.rate_fps:g} fps, {rule}, {smoothing}; {own}"


def _strict(truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int) -> dict[str, Average]:
    """Each metric; rows are ordered by video and time."""
    counts = classify.count(truth, predicted, videos, num_classes)
    edges = np.flatnonzero(np.diff(videos)) + 1
    pairs = list(zip(np.split(truth, edges), np.split(predicted, edges), strict=True))
    overlaps = np.stack([temporal.segment_counts(a, b, OVERLAPS) for a, b in pairs])
    precision, recall, f1 = classify.precision(counts), classify.recall(counts), classify.f1(counts)
    jaccard = classify.jaccard(counts)

    def by_phase(table: Float64Array, undefined: float = 0.0) -> Average:
        filled = np.nan_to_num(table, nan=undefined)
        return over_videos_then_classes(np.where(counts.truth > 0, filled, np.nan))

    def by_video(table: Float64Array) -> Average:
        return over_videos(classify.class_mean(table, counts, "union"))

    def segment_f1(at: int) -> Average:
        return Average(lambda weights: temporal.segment_f1(np.tensordot(weights, overlaps[:, at], 1)))

    return {
        "accuracy": over_videos(classify.accuracy(counts)),
        "accuracy_pooled": Average(lambda weights: classify.accuracy(counts.pooled(weights))),
        "precision": by_phase(precision),
        "recall": by_phase(recall),
        "f1": by_phase(f1),
        "jaccard": by_phase(jaccard),
        "precision_m2cai": by_phase(precision, np.nan),
        "f1_m2cai": by_phase(np.where(counts.hits > 0, f1, np.nan), np.nan),
        "precision_video": by_video(precision),
        "recall_video": by_video(recall),
        "macro_f1_video": by_video(f1),
        "jaccard_video": by_video(jaccard),
        "precision_pooled": over_pooled_rows(classify.precision, counts, "truth"),
        "balanced_accuracy": over_pooled_rows(classify.recall, counts, "truth"),
        "macro_f1": over_pooled_rows(classify.f1, counts, "truth"),
        "jaccard_pooled": over_pooled_rows(classify.jaccard, counts, "truth"),
        "weighted_f1": Average(lambda weights: classify.weighted_f1(counts.pooled(weights))),
        "edit": over_videos(np.array([temporal.edit_score(a, b) for a, b in pairs])),
        **{f"segment_f1_{100 * overlap:.0f}": segment_f1(at) for at, overlap in enumerate(OVERLAPS)},
    }


def _relaxed(
    truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int, rate_fps: float, mode: Mode
) -> dict[str, Average]:
    """Each metric with relaxed boundaries; rows are ordered by video and time."""
    found = relaxed_scores(truth, predicted, videos, num_classes, rate_fps, mode)._asdict()
    averages = {"accuracy": over_videos(found.pop("accuracy"))}
    averages |= {metric: over_videos_then_classes(np.minimum(table, 1)) for metric, table in found.items()}
    return {f"{metric}_relaxed_{mode}": average for metric, average in averages.items()}


def _levels(averages: Mapping[str, Average], num_videos: int) -> dict[str, float]:
    return {metric: point_estimate(average.statistic, num_videos) for metric, average in averages.items()}
