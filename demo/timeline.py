"""Zero-shot timeline of a video: vectors against prompts, one step a second; no model is needed.

Shapes: N steps, C classes, E width of the space.
"""

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from surgvl import prompts
from surgvl.data.manifest import Manifest
from surgvl.demo.schemas import HeatRow, Timeline, Video
from surgvl.embed.vectors import Texts
from surgvl.metrics.temporal import smooth

NUM_ROWS = 8


def read_timeline(
    place: Video,
    vectors: NDArray[np.float32],
    times_s: NDArray[np.float64],
    texts: Texts,
    manifest: Manifest,
    phase_set: str,
    triplet_set: str,
    smooth_s: float,
    scale: float,
) -> Timeline:
    """Phases and triplets of one video.

    Args:
        place: the video.
        vectors: unit vectors [N, E] in order of time.
        times_s: middle of each step [N].
        texts: embedded prompts.
        manifest: truth, where it knows the video.
        phase_set: prompt set of the phases.
        triplet_set: prompt set of the triplets.
        smooth_s: window of a centred moving average over the cosines; 0 for none.
        scale: what cosines are multiplied by before the softmax.

    Raises:
        DataError: a prompt set that was not embedded.
    """
    whole = np.zeros(len(times_s), np.int64)

    def shares_of(prompt_set: str) -> tuple[list[str], NDArray[np.float64]]:
        names, classes = texts.classes(prompt_set)
        cosines = smooth(np.asarray(vectors, np.float64) @ classes.T, times_s, whole, smooth_s, causal=False)
        powers = np.exp(scale * (cosines - cosines.max(1, keepdims=True)))
        return names, powers / powers.sum(1, keepdims=True)

    phases, phase = shares_of(phase_set)
    triplets, triplet = shares_of(triplet_set)
    top = np.argsort(-triplet.mean(0), kind="stable")[:NUM_ROWS]
    middle = (times_s[1:] + times_s[:-1]) / 2
    return Timeline(
        video_id=place.video_id,
        title=place.title,
        duration_s=place.duration_s,
        edges_s=np.concatenate([[0.0], middle, [place.duration_s]]),
        phases=phases,
        predicted=phase.argmax(1),
        shares=phase.max(1),
        truth=true_phases(manifest, place.video_id, phase_set, times_s),
        rows=[HeatRow(triplets[at], triplet[:, at], true_spans(manifest, place.video_id, triplets[at])) for at in top],
        smooth_s=smooth_s,
    )


def true_phases(
    manifest: Manifest, video_id: str, phase_set: str, times_s: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Class of each step int64 [N] by the manifest, -1 where it says nothing; None where it never does."""
    if video_id not in manifest:
        return None
    index = {name: row.id for row in prompts.load(phase_set).classes for name in (row.name, *row.aliases)}
    labels = manifest.second_labels("phase", [video_id] * len(times_s), times_s)
    truth = np.array([index.get(each[0], -1) if each else -1 for each in labels], np.int64)
    return truth if (truth >= 0).any() else None


def true_spans(manifest: Manifest, video_id: str, triplet: str) -> list[tuple[float, float]]:
    """Stretches, seconds, in which the manifest has a triplet."""
    table = manifest.segment_table
    fits = pc.and_(pc.equal(table["video_id"], video_id), pc.equal(table["task"], "triplet"))
    found = table.filter(pc.and_(fits, pc.equal(table["label"], triplet)))
    return list(zip(found["start_s"].to_pylist(), found["end_s"].to_pylist(), strict=True))
