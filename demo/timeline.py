"""Zero-shot timeline of a video from its stored vectors and prompts, one step a second, to show or to save.

Shapes: N steps, C classes, E embedding width.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from surgvl import prompts
from surgvl.core.arrays import softmax
from surgvl.data.manifest import Manifest
from surgvl.demo.schemas import Download, Timeline, TripletRow, Video
from surgvl.demo.video_catalog import UPLOAD
from surgvl.embed.vectors import Texts
from surgvl.export.base import choose_format
from surgvl.export.zero_shot import ClassSet, ClipVectors, TimelineConfig, interval_table
from surgvl.metrics.temporal import smooth

NUM_TRIPLETS = 8


def zero_shot_timeline(
    video: Video,
    vectors: NDArray[np.float32],
    times_s: NDArray[np.float64],
    texts: Texts,
    manifest: Manifest,
    phase_set: str,
    triplet_set: str,
    smooth_s: float,
    logit_scale: float,
) -> Timeline:
    """Phases and triplets of one video.

    Args:
        video: the video.
        vectors: unit vectors float32 [N, E] in temporal order.
        times_s: middle of each step, float64 [N].
        texts: embedded prompts.
        manifest: ground truth, if it has the video.
        phase_set: prompt set of the phases.
        triplet_set: prompt set of the triplets.
        smooth_s: window of a centred moving average over the cosines; 0 for none.
        logit_scale: factor of the cosines before the softmax.

    Raises:
        DataError: a prompt set was not embedded.
    """
    one_video = np.zeros(len(times_s), np.int64)

    def probabilities(prompt_set: str) -> tuple[list[str], NDArray[np.float64]]:
        names, classes = texts.classes(prompt_set)
        cosines = smooth(np.asarray(vectors, np.float64) @ classes.T, times_s, one_video, smooth_s, causal=False)
        return names, softmax(cosines, logit_scale)

    phases, phase = probabilities(phase_set)
    triplets, triplet = probabilities(triplet_set)
    top = np.argsort(-triplet.mean(0), kind="stable")[:NUM_TRIPLETS]
    return Timeline(
        video_id=video.video_id,
        title=video.title,
        duration_s=video.duration_s,
        edges_s=np.append(_begins(times_s), video.duration_s),
        phases=phases,
        predicted=phase.argmax(1),
        probabilities=phase.max(1),
        ground_truth=labelled_phases(manifest, video.video_id, phase_set, times_s),
        triplets=[
            TripletRow(name, triplet[:, at], labelled_spans(manifest, video.video_id, name))
            for at in top
            for name in [triplets[at]]
        ],
        smooth_s=smooth_s,
        phase_set=phase_set,
        triplet_set=triplet_set,
    )


def timeline_file(
    video: Video,
    vectors: NDArray[np.float32],
    times_s: NDArray[np.float64],
    texts: Texts,
    sets: Sequence[str],
    smooth_s: float,
    logit_scale: float,
    model: str,
    format: str,
) -> Download:
    """The timeline of a video as a file, in one of the formats of `surgvl.export`; it names no folder.

    Args:
        video: the video.
        vectors: unit vectors float32 [N, E] in temporal order.
        times_s: middle of each step, float64 [N].
        texts: embedded prompts.
        sets: prompt sets of the tracks.
        smooth_s: window of a centred moving average over the cosines; 0 for none.
        logit_scale: factor of the cosines before the softmax.
        model: name of the model, as the file tells it.
        format: name of the format.

    Raises:
        ConfigError: no such format, or a negative window.
        DataError: a prompt set was not embedded, or the video cannot be read.
    """
    kind, config = choose_format(format), TimelineConfig(smooth_s=smooth_s)
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    clips = ClipVectors(vectors, times_s, _begins(times_s), step_s)
    classes = [ClassSet(prompts.load(name), *texts.classes(name)) for name in sets]
    table = interval_table(video.path, clips, classes, logit_scale, config, model)
    # An upload is called as its owner calls it.
    name = PurePath(video.title if video.split == UPLOAD else video.path.name)
    table = replace(table, video_id=name.stem, media=name.name)
    return Download(f"{name.stem}{kind.suffix}", kind.content_type, kind.encode(table))


def _begins(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where steps begin: half way between their middles, the first at 0."""
    return np.concatenate([[0.0], (times_s[1:] + times_s[:-1]) / 2])


def labelled_phases(
    manifest: Manifest, video_id: str, phase_set: str, times_s: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Labelled phase of each step, int64 [N], -1 for unlabelled steps; None if no step is labelled."""
    if video_id not in manifest:
        return None
    index = {name: row.id for row in prompts.load(phase_set).classes for name in (row.name, *row.aliases)}
    labels = manifest.second_labels("phase", [video_id] * len(times_s), times_s)
    phases = np.array([index.get(each[0], -1) if each else -1 for each in labels], np.int64)
    return phases if (phases >= 0).any() else None


def labelled_spans(manifest: Manifest, video_id: str, triplet: str) -> list[tuple[float, float]]:
    """(start_s, end_s) of the labelled segments of a triplet."""
    table = manifest.segment_table
    fits = pc.and_(pc.equal(table["video_id"], video_id), pc.equal(table["task"], "triplet"))
    found = table.filter(pc.and_(fits, pc.equal(table["label"], triplet)))
    return list(zip(found["start_s"].to_pylist(), found["end_s"].to_pylist(), strict=True))
