"""Scores of a probe: phase accuracy and F1, average precision of instruments, verbs and targets; all by video.

Phase as in `tasks.phase` (Twinanda et al., arXiv 1602.03012); the parts of triplets video-wise as in CholecT50
(Nwoye and Padoy, arXiv 2204.05235): AP of the classes present in a video, mean over videos, then over classes.
Shapes: N clips, C classes of a head, V videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result, bootstrap_interval
from surgvl.metrics import classify
from surgvl.metrics.average_precision import classes_over_videos, video_average_precision, videos_then_classes
from surgvl.probe.labels import PARTS, Truth
from surgvl.tasks.base import NUM_RANDOM, Scores
from surgvl.tasks.phase import Phase

_PHASE_METRICS = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class ProbedClips:
    """The clips that a probe is scored on, and how.

    Attributes:
        video_ids: [N].
        times_s: float64 [N], centres of the clips.
        truth: labels by head.
        phase_names: class names of the phases.
        majority: most frequent phase of the training clips, which the constant baseline predicts.
        protocol: videos, readout and training, in words.
        rate_fps: clips per second.
        seed: seed of the bootstrap and of the random baselines.
    """

    video_ids: Sequence[str]
    times_s: Float64Array
    truth: Truth
    phase_names: Sequence[str]
    majority: int
    protocol: str
    rate_fps: float
    seed: int


def score(clips: ProbedClips, scores: Mapping[str, NDArray[np.floating]]) -> tuple[list[Result], dict[str, Any]]:
    """Score the heads of a probe.

    Args:
        clips: the clips and their labels.
        scores: [N, C] by head; a head without any label among the clips is left out.

    Returns:
        Results, and the values by video behind them, for paired comparisons: `videos` [V], and for each head a table
        [V, C] (or [V, 1], the accuracy of phases) with None where undefined.

    Raises:
        DataError: no head has a label among the clips.
    """
    ids = np.asarray(clips.video_ids, np.str_)
    names, videos = np.unique(ids, return_inverse=True)
    results: list[Result] = []
    tables: dict[str, Any] = {"videos": names.tolist()}
    for head, values in scores.items():
        truth = clips.truth[head]
        known = (truth >= 0) if truth.ndim == 1 else (truth >= 0).all(1)
        if not known.any():
            continue
        if head == "phase":
            results += _phase(clips, values)
            counts = classify.count(truth, values.argmax(1), videos, values.shape[1])
            table = classify.accuracy(counts)[:, None]
        else:
            own, numbers = np.unique(videos[known], return_inverse=True)
            results.append(_part(clips, head, truth[known], values[known], numbers))
            table = np.full((len(names), values.shape[1]), np.nan)
            table[own] = video_average_precision(truth[known], values[known], numbers)
        tables[head] = [[None if np.isnan(value) else float(value) for value in row] for row in table]
    if not results:
        raise DataError("no clip has a phase or a triplet: check the split and the tasks of the segments")
    return results, tables


def _phase(clips: ProbedClips, values: NDArray[np.floating]) -> list[Result]:
    task = Phase(clips.truth["phase"], clips.majority, 0.0, False, clips.protocol, clips.rate_fps, clips.seed)
    found = task.score(Scores(clips.video_ids, clips.times_s, values, clips.phase_names))
    return [result for result in found if result.metric in _PHASE_METRICS]


def _part(
    clips: ProbedClips, head: str, truth: NDArray[np.int64], values: NDArray[np.floating], videos: NDArray[np.int64]
) -> Result:
    def table(scores: NDArray[np.floating]) -> Float64Array:
        return video_average_precision(truth, scores, videos)

    def mean(scores: NDArray[np.floating]) -> float:
        return float(videos_then_classes(table(scores))[0])

    if not truth.any():
        raise DataError(f"no clip has a {head} among its labels: check the split and the triplets of the segments")
    mine = table(values)
    generator = np.random.default_rng(clips.seed)
    draws = [mean(generator.random(values.shape, np.float32)) for _ in range(NUM_RANDOM)]
    value, low, high = bootstrap_interval(partial(videos_then_classes, mine), len(mine), clips.seed)
    by_class = zip(PARTS[head], classes_over_videos(mine)[0], strict=True)
    return Result(
        task=head,
        metric="mAP",
        value=value,
        low=low,
        high=high,
        num_videos=len(mine),
        num_clips=len(truth),
        baselines={"constant": mean(np.zeros_like(values)), "random": float(np.mean(draws))},
        protocol=f"{clips.protocol}, {clips.rate_fps:g} fps; AP of classes present in a video, mean over videos, then "
        "over classes",
        per_class={name: float(each) for name, each in by_class if np.isfinite(each)},
    )
