"""One class for a whole video: the action or motion that a clip shows, a surgeon's experience, a class of skill.

A video counts once: scores of several of its moments are averaged, decisions vote (shares of votes are no
probabilities, so that calibration is of models that give some). Experience and skill are levels in
order, so that quadratic kappa tells a neighbouring level from a far one (Cohen, Psychological Bulletin 1968). Clips:
SurgicalActions160 (Schoeffmann et al. 2018), SurgRec (arXiv 2603.29966), which prints top-1 accuracy; levels: JIGSAWS
(Gao et al., M2CAI 2014), AIxSuture (Hoffmann et al. 2024).
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.metrics import agreement
from surgvl.metrics.classify import Average
from surgvl.tasks.base import Inputs, LabelledScores, Scores, Task
from surgvl.tasks.phase import Phase

_METRICS = ("accuracy", "precision_pooled", "balanced_accuracy", "macro_f1", "jaccard_pooled", "weighted_f1")


class VideoClass(Phase):
    """A class of each video; the kinds of label are its subclasses."""

    name = ""
    MAIN: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "macro_f1", "quadratic_kappa")
    PROTOCOLS: ClassVar[dict[str, str]] = {
        **{metric: rule.replace("frames", "videos") for metric, rule in Phase.PROTOCOLS.items()},
        "accuracy": "share of videos",
        "quadratic_kappa": "agreement of levels beyond chance, by squared distance",
    }
    BOUNDS: ClassVar[dict[str, tuple[float, float]]] = {"quadratic_kappa": (-1.0, 1.0)}
    MAJORITY = "most frequent"
    # Whether the classes are levels, the lowest first.
    ORDERED: ClassVar[bool] = False

    @classmethod
    def _of(cls, group: LabelledScores, inputs: Inputs) -> tuple[Task[Scores], Scores]:
        whole, protocol = by_video(group), group.protocol
        if cls.ORDERED:
            protocol += f", levels {' < '.join(group.scores.class_names)}"
        return super()._of(replace(whole, protocol=protocol), inputs)

    def measure(
        self, truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int
    ) -> dict[str, Average]:
        """The metrics of phases that do not depend on the order of moments, and kappa of levels."""
        found = super().measure(truth, predicted, videos, num_classes)
        found = {metric: found[metric] for metric in _METRICS}
        if not self.ORDERED:
            return found
        tables = agreement.confusion(truth, predicted, videos, num_classes)

        def kappa(weights: Float64Array) -> Float64Array:
            return agreement.quadratic_kappa(np.asarray(np.tensordot(weights, tables, 1), np.float64))

        return found | {"quadratic_kappa": Average(kappa)}

    def _protocol(self, metric: str) -> str:
        return f"{self.labels}, one class for each video; {self.PROTOCOLS[metric]}"


class Clip(VideoClass):
    """What a clip shows."""

    name = kind = "clip"


class Experience(VideoClass):
    """How experienced the surgeon is."""

    name = kind = "experience"
    ORDERED = True


class SkillClass(VideoClass):
    """The class of a skill score."""

    name = kind = "skill_class"
    ORDERED = True


def by_video(group: LabelledScores) -> LabelledScores:
    """The same with one row for each video: the mean of its scores, or the decision of most of its moments."""
    scores = group.scores
    counts = np.bincount(scores.videos)
    sums = np.zeros((len(counts), len(scores.class_names)))
    np.add.at(sums, scores.videos, scores.scores)
    labels: list[list[str]] = [[] for _ in counts]
    for video, own in zip(scores.videos.tolist(), group.labels, strict=True):
        labels[video] = sorted({*labels[video], *own})
    values = np.eye(sums.shape[1])[sums.argmax(axis=1)] if group.hard else sums / counts[:, None]
    return replace(
        group, scores=Scores(scores.video_names, np.zeros(len(counts)), values, scores.class_names), labels=labels
    )
