"""Scores of a probe: accuracy and F1 of one class at a time, average precision of many, error of numbers; all by video.

Phase as in `tasks.phase` (Twinanda et al., arXiv 1602.03012), and so are steps and other classes of which one holds;
tools and the parts of triplets as in `tasks.multi_label`, over all clips (`mAP`) and by video (`mAP_video`); triplets
as in `tasks.triplet`. Names and values are those of `surgvl eval`. A number, such as a skill rating, is that of a
video: the mean over its clips.
Shapes: N clips, C classes of a head, V videos.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result, Statistic, bootstrap_interval, video_mean
from surgvl.metrics import classify, ranks
from surgvl.metrics.average_precision import video_average_precision
from surgvl.probe.labels import Head, Truth, known
from surgvl.tasks.base import Scores
from surgvl.tasks.multi_label import MultiLabel
from surgvl.tasks.phase import Phase
from surgvl.tasks.triplet import Triplet

_ONE_METRICS = ("accuracy", "macro_f1")
_MANY_METRICS = ("mAP", "mAP_video")
_TRIPLET_METRICS = ("mAP_IVT", "mAP_IVT_global")


@dataclass(frozen=True)
class ProbedClips:
    """The clips that a probe is scored on, and how.

    Attributes:
        video_ids: [N].
        times_s: float64 [N], the moments that the clips stand for.
        truth: labels by head.
        heads: the heads.
        majority: of heads of one class, the most frequent one of the training clips, which a baseline predicts.
        protocol: videos, readout and training, in words.
        rate_fps: clips per second.
        seed: seed of the bootstrap and of the random baselines.
    """

    video_ids: Sequence[str]
    times_s: Float64Array
    truth: Truth
    heads: Sequence[Head]
    majority: Mapping[str, int]
    protocol: str
    rate_fps: float
    seed: int


def majority_of(truth: Truth, heads: Sequence[Head]) -> dict[str, int]:
    """The most frequent class of each head of one class that has labels among the training clips."""
    found = {}
    for head in heads:
        if head.kind == "one" and (is_known := known(truth[head.name])).any():
            found[head.name] = int(np.bincount(truth[head.name][is_known]).argmax())
    return found


def score(clips: ProbedClips, scores: Mapping[str, NDArray[np.floating]]) -> tuple[list[Result], dict[str, Any]]:
    """Score the heads of a probe.

    Args:
        clips: the clips and their labels.
        scores: [N, C] by head; a head without any label among the clips is left out.

    Returns:
        Results, and the values by video behind them, for paired comparisons: `videos` [V], and for each head a table
        [V, C] ([V, 1]: the accuracy of one class, the absolute error of a number) with None where undefined.

    Raises:
        DataError: no head has a label among the clips.
    """
    ids = np.asarray(clips.video_ids, np.str_)
    names, videos = np.unique(ids, return_inverse=True)
    results: list[Result] = []
    tables: dict[str, Any] = {"videos": names.tolist()}
    for head in clips.heads:
        values, truth = scores[head.name], clips.truth[head.name]
        is_known = known(truth)
        if not is_known.any():
            continue
        own, numbers = np.unique(videos[is_known], return_inverse=True)
        table = np.full((len(names), values.shape[1]), np.nan)
        if head.kind == "one":
            results += _one(clips, head, values)
            counts = classify.count(truth, values.argmax(1), videos, values.shape[1])
            table = classify.accuracy(counts)[:, None]
        elif head.kind == "many":
            if not truth[is_known].any():
                raise DataError(f"no clip has a {head.name} among its labels: check the split and the labels")
            results += _many(clips, head, values)
            table[own] = video_average_precision(truth[is_known], values[is_known], numbers)
        else:
            found, table[own, 0] = _number(clips, head, truth[is_known], values[is_known, 0], numbers)
            results += found
        tables[head.name] = [[None if np.isnan(value) else float(value) for value in row] for row in table]
    if not results:
        raise DataError("no clip has a label: check the split and the tasks of the segments")
    return results, tables


def _one(clips: ProbedClips, head: Head, values: NDArray[np.floating]) -> list[Result]:
    how = clips.protocol, clips.rate_fps, clips.seed
    task = Phase(clips.truth[head.name], clips.majority.get(head.name, 0), 0.0, False, *how)
    found = task.score(Scores(clips.video_ids, clips.times_s, values, head.classes))
    return [dataclasses.replace(result, task=head.name) for result in found if result.metric in _ONE_METRICS]


def _number(
    clips: ProbedClips,
    head: Head,
    truth: NDArray[np.floating],
    values: NDArray[np.floating],
    videos: NDArray[np.int64],
) -> tuple[list[Result], Float64Array]:
    """The results, and the absolute error of each video, float64 [V]."""
    count = np.bincount(videos)
    real, said = (np.bincount(videos, each) / count * head.std + head.mean for each in (truth, values))
    errors = ranks.absolute_error(real, said)
    statistics: dict[str, tuple[Statistic, tuple[float, float], dict[str, float]]] = {
        "mae": (video_mean(errors), (0.0, np.inf), {"training mean": float(np.abs(real - head.mean).mean())}),
        # A constant has no ranks.
        "spearman": (lambda weights: ranks.spearman(real, said, weights), (-1.0, 1.0), {}),
    }
    found = []
    for metric, (statistic, bounds, baselines) in statistics.items():
        value, low, high = bootstrap_interval(statistic, len(errors), clips.seed, bounds)
        found.append(
            Result(
                task=head.name,
                metric=metric,
                value=value,
                low=low,
                high=high,
                num_videos=len(errors),
                num_clips=len(truth),
                baselines=baselines,
                protocol=f"{clips.protocol}, {clips.rate_fps:g} fps; a video's value is the mean over its clips",
            )
        )
    return found, errors


def _many(clips: ProbedClips, head: Head, values: NDArray[np.floating]) -> list[Result]:
    rows = np.flatnonzero(known(clips.truth[head.name]))
    how = clips.truth[head.name][rows], clips.protocol, clips.rate_fps, clips.seed
    of_triplets = head.name == Triplet.kind
    task = Triplet(*how, head.classes) if of_triplets else MultiLabel(*how)
    metrics = _TRIPLET_METRICS if of_triplets else _MANY_METRICS
    ids = [clips.video_ids[row] for row in rows]
    found = task.score(Scores(ids, np.asarray(clips.times_s)[rows], values[rows], head.classes))
    return [dataclasses.replace(result, task=head.name) for result in found if result.metric in metrics]
