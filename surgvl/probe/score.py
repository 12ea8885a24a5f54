"""Scores of a probe: accuracy and F1 of one class at a time, average precision of many, error of numbers; all by video.

Phase as in `tasks.phase` (Twinanda et al., arXiv 1602.03012), and so are steps and other classes of which one holds;
classes of whole videos as in `tasks.video_class`; tools and the parts of triplets as in `tasks.multi_label`, over all
clips (`mAP`) and by video (`mAP_video`); triplets as in `tasks.triplet`; a number, such as a skill rating, as in
`tasks.skill`: that of a video is the mean over its clips. What is scored is what the prediction files hold,
probabilities, and so their calibration is. Names and values are those of `surgvl eval`.
Shapes: N clips, C classes of a head, V videos, T training videos.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.metrics import classify, ranks
from surgvl.metrics.average_precision import video_average_precision
from surgvl.probe.labels import Head, Truth, known
from surgvl.probe.predicted import said
from surgvl.tasks.base import LabelledScores, Scores
from surgvl.tasks.calibrated import PROTOCOLS as CALIBRATION
from surgvl.tasks.multi_label import MultiLabel
from surgvl.tasks.numbers import Numbers
from surgvl.tasks.phase import Phase
from surgvl.tasks.skill import Skill
from surgvl.tasks.triplet import Triplet
from surgvl.tasks.truth import WHOLE
from surgvl.tasks.video_class import Clip, Experience, SkillClass, VideoClass, by_video

_ONE_METRICS = ("accuracy", "macro_f1", *CALIBRATION)
_MANY_METRICS = ("mAP", "mAP_video", *CALIBRATION)
_TRIPLET_METRICS = ("mAP_IVT", "mAP_IVT_global", *CALIBRATION)
_NUMBER_METRICS = ("mae", "spearman")
_VIDEO_CLASSES: dict[str, type[VideoClass]] = {each.kind: each for each in (Clip, Experience, SkillClass)}
# Numbers are stored as float32 of deviations from their mean; ratings have fewer places.
_PLACES = 4


@dataclass(frozen=True)
class ProbedClips:
    """The clips that a probe is scored on, and how.

    Attributes:
        video_ids: [N].
        times_s: float64 [N], the moments that the clips stand for.
        truth: labels by head.
        heads: the heads.
        training: what the baselines know of the training clips, by head: of one class, how many clips have each class
            [C], or how many videos, for classes of whole videos; of a number, that of each video [T].
        protocol: videos, readout and training, in words.
        rate_fps: clips per second.
        seed: seed of the bootstrap and of the random baselines.
    """

    video_ids: Sequence[str]
    times_s: Float64Array
    truth: Truth
    heads: Sequence[Head]
    training: Mapping[str, Float64Array]
    protocol: str
    rate_fps: float
    seed: int


def training_of(truth: Truth, heads: Sequence[Head], video_ids: Sequence[str]) -> dict[str, Float64Array]:
    """What the baselines know, of heads of one class and of numbers that have labels among the training clips.

    Args:
        truth: labels of the training clips by head.
        heads: the heads.
        video_ids: [N], of the training clips.

    Returns:
        See `ProbedClips.training`.
    """
    ids, found = np.asarray(video_ids, np.str_), {}
    for head in heads:
        labels, is_known = truth[head.name], known(truth[head.name])
        if head.kind == "many" or not is_known.any():
            continue
        if head.kind == "number":
            videos = np.unique(ids[is_known], return_inverse=True)[1]
            found[head.name] = _by_video(head, labels[is_known], videos)
            continue
        labels = labels[is_known]
        if head.name in WHOLE:
            # A long video has many clips, and counts once.
            labels = labels[np.unique(ids[is_known], return_index=True)[1]]
        found[head.name] = np.bincount(labels, minlength=head.size).astype(np.float64)
    return found


def score(clips: ProbedClips, scores: Mapping[str, NDArray[np.floating]]) -> tuple[list[Result], dict[str, Any]]:
    """Score the heads of a probe.

    Args:
        clips: the clips and their labels.
        scores: logits [N, C] by head; a head without any label among the clips is left out.

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
        truth = clips.truth[head.name]
        is_known = known(truth)
        if not is_known.any():
            continue
        values = said(head, np.asarray(scores[head.name], np.float32))
        own, numbers = np.unique(videos[is_known], return_inverse=True)
        table = np.full((len(names), head.size), np.nan)
        if head.kind == "one":
            found, table = _one(clips, head, values, videos)
            results += found
        elif head.kind == "many":
            if not truth[is_known].any():
                raise DataError(f"no clip has a {head.name} among its labels: check the split and the labels")
            results += _many(clips, head, values)
            table[own] = video_average_precision(truth[is_known], values[is_known], numbers)
        else:
            rated = [str(each) for each in names[own]]
            found, table[own, 0] = _number(clips, head, rated, truth[is_known], values[is_known], numbers)
            results += found
        tables[head.name] = [[None if np.isnan(value) else float(value) for value in row] for row in table]
    if not results:
        raise DataError("no clip has a label: check the split and the tasks of the segments")
    return results, tables


def _one(
    clips: ProbedClips, head: Head, values: NDArray[np.floating], videos: NDArray[np.int64]
) -> tuple[list[Result], Float64Array]:
    """The results, and the accuracy of each video, float64 [V, 1]."""
    scores = Scores(clips.video_ids, clips.times_s, values, head.classes)
    kind: type[Phase] = Phase
    truth, what = clips.truth[head.name], "clips"
    if head.name in _VIDEO_CLASSES:
        labels = [[head.classes[at]] if at >= 0 else [] for at in truth.tolist()]
        whole = by_video(LabelledScores(scores, labels, {}, clips.protocol))
        scores, kind, what = whole.scores, _VIDEO_CLASSES[head.name], "videos"
        truth = np.array([head.classes.index(own[0]) if own else -1 for own in whole.labels])
        videos = scores.videos
    counts, protocol = clips.training.get(head.name, np.zeros(0)), clips.protocol
    majority = int(counts.argmax()) if len(counts) else None
    if majority is not None:
        protocol += f", majority: {head.classes[majority]} (the most frequent of the training {what})"
    task = kind(
        truth, majority, labels=protocol, rate_fps=clips.rate_fps, seed=clips.seed, prior=[float(x) for x in counts]
    )
    found = [dataclasses.replace(each, task=head.name) for each in task.score(scores) if each.metric in _ONE_METRICS]
    table = classify.accuracy(classify.count(truth, scores.scores.argmax(1), videos, head.size))
    return found, table[:, None]


def _number(
    clips: ProbedClips,
    head: Head,
    names: Sequence[str],
    truth: NDArray[np.floating],
    values: NDArray[np.floating],
    videos: NDArray[np.int64],
) -> tuple[list[Result], Float64Array]:
    """The results, and the absolute error of each video, float64 [V]."""
    real, guess = _by_video(head, truth, videos), np.bincount(videos, values) / np.bincount(videos)
    protocol = f"{clips.protocol}, {clips.rate_fps:g} fps, a video's value is the mean over its clips"
    task = Skill(real, clips.training.get(head.name, ()), labels=protocol, seed=clips.seed)
    found = task.score(Numbers(names, guess))
    results = [
        dataclasses.replace(each, task=head.name, num_clips=len(truth))
        for each in found
        if each.metric in _NUMBER_METRICS
    ]
    return results, ranks.absolute_error(real, guess)


def _by_video(head: Head, labels: NDArray[np.floating], videos: NDArray[np.int64]) -> Float64Array:
    """The number of each video, float64 [V], from those of its clips in deviations from the head's mean [N]."""
    means = np.bincount(videos, labels) / np.bincount(videos)
    return np.asarray(np.round(means * head.std + head.mean, _PLACES), np.float64)


def _many(clips: ProbedClips, head: Head, values: NDArray[np.floating]) -> list[Result]:
    rows = np.flatnonzero(known(clips.truth[head.name]))
    how = clips.truth[head.name][rows], clips.protocol, clips.rate_fps, clips.seed
    of_triplets = head.name == Triplet.kind
    task = Triplet(*how, head.classes) if of_triplets else MultiLabel(*how)
    metrics = _TRIPLET_METRICS if of_triplets else _MANY_METRICS
    ids = [clips.video_ids[row] for row in rows]
    found = task.score(Scores(ids, np.asarray(clips.times_s)[rows], values[rows], head.classes))
    return [dataclasses.replace(result, task=head.name) for result in found if result.metric in metrics]
