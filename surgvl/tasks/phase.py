"""Phase recognition: the highest-scoring class at each second against the surgeon's label.

Published tables average in different ways and call all of them F1; each way has its own name here. Scoring is strict:
errors near transitions count. Cholec80: Twinanda et al., arXiv 1602.03012; zero-shot protocol of SurgVLP: Yuan et al.,
arXiv 2307.15220.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result, Statistic, video_mean
from surgvl.metrics import classify, temporal
from surgvl.metrics.average_precision import classes_over_videos, videos_then_classes
from surgvl.tasks.base import NUM_RANDOM, Inputs, LabelledScores, Scores, Task, means, point_estimate

_PROTOCOLS = {
    "accuracy": "mean over videos",
    "macro_f1": "frames pooled; classes in the truth, undefined counts 0",
    "macro_f1_video": "for each video over classes in truth or prediction, then mean over videos (SurgVLP)",
    "jaccard": "for each video with the phase, then mean over videos, then over phases",
    "balanced_accuracy": "frames pooled; mean recall of classes in the truth",
    "weighted_f1": "frames pooled; classes weighted by their frames",
    "accuracy_pooled": "frames pooled",
    "edit": "order of segments, mean over videos",
    "segment_f1_50": "segments with overlap 0.50, counts pooled over videos",
}


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
    """

    name = "phase"
    version = 1
    kind = "phase"

    def __init__(
        self,
        truth: ArrayLike,
        majority: int | None = None,
        window_s: float = 0.0,
        causal: bool = False,
        labels: str = "phases",
        rate_fps: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.truth = np.asarray(truth)
        self.majority = majority
        self.window_s = window_s
        self.causal = causal
        self.labels = labels
        self.rate_fps = rate_fps
        self.seed = seed

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
                raise DataError(f"{where} is in two phases, {' and '.join(names)}: correct the segments")
            if names:
                truth[row] = index[names[0]]
        seconds = group.training_seconds
        majority = index[max(seconds, key=lambda name: (seconds[name], name))] if seconds else None
        task = cls(truth, majority, inputs.window_s, inputs.causal, group.protocol, inputs.rate_fps, inputs.seed)
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
            raise DataError(f"none of the {len(kept)} rows has a phase: check the split and the task of the segments")
        truth, predicted = self.truth[order][kept], scores.argmax(axis=1)[kept]
        names, videos = np.unique(predictions.videos[order][kept], return_inverse=True)
        num_classes, num_videos = len(predictions.class_names), len(names)

        measure = partial(_statistics, truth, videos=videos, num_classes=num_classes)
        mine = measure(predicted)
        baselines = self._baselines(truth, measure, num_classes, num_videos)
        counts = classify.count(truth, predicted, videos, num_classes)
        per_class = {
            "macro_f1": classify.f1(counts.pooled())[0],
            "jaccard": classes_over_videos(classify.jaccard(counts))[0],
        }
        return [
            self.result(
                metric,
                statistic,
                {name: table[metric] for name, table in baselines.items()},
                f"{self._protocol()}; {_PROTOCOLS[metric]}",
                num_videos=num_videos,
                num_clips=len(truth),
                seed=self.seed,
                per_class=_named(per_class[metric], predictions.class_names) if metric in per_class else None,
            )
            for metric, statistic in mine.items()
        ]

    def _baselines(
        self, truth: Int64Array, measure: Callable[..., dict[str, Statistic]], num_classes: int, num_videos: int
    ) -> dict[str, dict[str, float]]:
        def values(predicted: Int64Array) -> dict[str, float]:
            return {name: point_estimate(statistic, num_videos) for name, statistic in measure(predicted).items()}

        constant = int(np.bincount(truth).argmax()) if self.majority is None else self.majority
        generator = np.random.default_rng(self.seed)
        random = [values(generator.integers(0, num_classes, len(truth))) for _ in range(NUM_RANDOM)]
        name = "majority (of test)" if self.majority is None else "majority"
        return {name: values(np.full(len(truth), constant)), "random": means(random)}

    def _protocol(self) -> str:
        smoothing = "no smoothing"
        if self.window_s:
            smoothing = f"{'causal' if self.causal else 'centred'} mean over {self.window_s:g} s"
        return f"{self.labels}, {self.rate_fps:g} fps, strict, {smoothing}"


def _statistics(truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int) -> dict[str, Statistic]:
    """For each metric, a statistic over draws of videos; rows are ordered by video and time."""
    counts = classify.count(truth, predicted, videos, num_classes)
    edges = np.flatnonzero(np.diff(videos)) + 1
    pairs = list(zip(np.split(truth, edges), np.split(predicted, edges), strict=True))
    overlaps = np.stack([temporal.segment_counts(a, b, 0.5) for a, b in pairs])
    jaccard = classify.jaccard(counts)

    def pooled(metric: Callable[[classify.Counts], Float64Array]) -> Statistic:
        return lambda weights: metric(counts.pooled(weights))

    return {
        "accuracy": video_mean(classify.accuracy(counts)),
        "macro_f1": pooled(partial(classify.macro_f1, absent="truth")),
        "macro_f1_video": video_mean(classify.macro_f1(counts, "union")),
        "jaccard": lambda weights: videos_then_classes(jaccard, weights),
        "balanced_accuracy": pooled(classify.balanced_accuracy),
        "weighted_f1": pooled(classify.weighted_f1),
        "accuracy_pooled": pooled(classify.accuracy),
        "edit": video_mean([temporal.edit_score(a, b) for a, b in pairs]),
        "segment_f1_50": lambda weights: temporal.segment_f1(weights @ overlaps),
    }


def _named(values: Float64Array, names: Sequence[str]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True) if np.isfinite(value)}
