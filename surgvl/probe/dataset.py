"""Data of a probe: clips of a split around each second, their tokens and their labels.

Shapes: N clips, T frames, S pixels, K tokens of a clip, D width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest
from surgvl.embed.features import Features
from surgvl.models.vit import VideoViT
from surgvl.probe.labels import Truth, truth_of
from surgvl.probe.tokens import encode, num_groups
from surgvl.video.clip import clip_start


@dataclass(frozen=True)
class ClipSpec:
    """How clips are cut and kept.

    Attributes:
        num_frames: frames of a clip.
        frame_step: only the middle one of this many consecutive frames is encoded: T = num_frames / frame_step.
        every_s: seconds between clips.
        batch: clips encoded at once.
        average: keep only the mean of each clip's tokens.
        largest_gb: maximum size of the tokens, GB.
        phases: class names of the phases.
    """

    num_frames: int
    frame_step: int
    every_s: float
    batch: int
    average: bool
    largest_gb: float
    phases: list[str]


@dataclass(frozen=True)
class ProbeData:
    """Clips of a split: video ids [N], centres float64 [N] in seconds, tokens float16 [N, K, D], labels by head."""

    video_ids: list[str]
    times_s: NDArray[np.float64]
    tokens: NDArray[np.float16]
    truth: Truth


def centres(duration_s: float, every_s: float) -> NDArray[np.float64]:
    """Centres of the windows of `every_s` in a video; the middle of a video that is shorter than one."""
    count = int(duration_s / every_s + 1e-6)
    if count == 0:
        return np.array([duration_s / 2])
    return np.arange(0.5, count, dtype=np.float64) * every_s


def gather(
    store: FrameStore, table: Manifest, encoder: VideoViT, spec: ClipSpec, file: Path, stored: Path | None = None
) -> ProbeData:
    """Cut one clip around each centre, shifted into the video at its ends, and encode it.

    Args:
        store: provides the clips; prepared.
        table: the videos, all of them readable, and their labels.
        encoder: frozen.
        spec: how clips are cut and kept.
        file: file of the tokens.
        stored: folder of the features of frozen encoders, shared with other stages (`surgvl.embed.features`), for
            tokens of whole clips up to `largest_gb`.

    Raises:
        ConfigError: the tokens are too large.
        DataError: there is no video, or the labels do not fit.
    """
    ids: list[str] = []
    middles: list[float] = []
    for video_id in table.video_ids():
        found = centres(store.durations_s[video_id], spec.every_s).tolist()
        ids += [video_id] * len(found)
        middles += found
    if not ids:
        raise DataError("a split has no readable video: see the problems listed, and --split")
    num_kept = spec.num_frames // spec.frame_step
    length = 1 if spec.average else num_groups(encoder, num_kept) * encoder.num_tokens
    if (size_gb := 2e-9 * len(ids) * length * encoder.dim) > spec.largest_gb:
        raise ConfigError(
            f"the tokens of {len(ids)} clips take {size_gb:.2g} GB, more than --tokens_gb {spec.largest_gb:g}: give a "
            f"larger --every_s than {spec.every_s:g}, --readout linear, or more room"
        )
    clip_s = spec.num_frames / store.fps

    def read() -> Iterator[NDArray[np.uint8] | Tensor]:
        parts = _groups(store, encoder, ids, middles, spec) if stored is not None and spec.frame_step == 1 else []
        flat = [clip for part in parts for clip in part]
        features = Features(encoder, store, encoder.config.num_frames, stored or file.parent)
        if flat and features.num_bytes(flat) <= 1e9 * spec.largest_gb and features.fits(flat):
            features.add(flat)
            for problem in features.problems.values():
                raise DataError(problem)
            for at in range(0, len(parts), spec.batch):
                batch = parts[at : at + spec.batch]
                tokens = features.stack([clip for part in batch for clip in part])
                yield tokens.view(len(batch), -1, encoder.dim)
            return
        for at in range(0, len(ids), spec.batch):
            pairs = zip(ids[at : at + spec.batch], middles[at : at + spec.batch], strict=True)
            clips = np.stack([_clip(store, video_id, middle, clip_s, spec.num_frames) for video_id, middle in pairs])
            yield np.ascontiguousarray(clips[:, spec.frame_step // 2 :: spec.frame_step])

    tokens = encode(encoder, read(), len(ids), num_kept, file, spec.average)
    annotated = {row.video_id for row in table.segments if row.task == "triplet"}
    truth = truth_of(
        table.second_labels("phase", ids, middles),
        table.second_labels("triplet", ids, middles),
        [video_id in annotated for video_id in ids],
        spec.phases,
    )
    return ProbeData(ids, np.asarray(middles), tokens, truth)


def _groups(
    store: FrameStore, encoder: VideoViT, ids: list[str], middles: list[float], spec: ClipSpec
) -> list[list[tuple[str, int]]]:
    """For each clip, the shorter clips that the encoder takes in sequence: video and start in milliseconds."""
    step_ms = 1000 * encoder.config.num_frames / store.fps
    starts = [
        store.clip_around(video_id, middle_s, spec.num_frames) for video_id, middle_s in zip(ids, middles, strict=True)
    ]
    count = num_groups(encoder, spec.num_frames)
    return [[(video_id, start + round(step_ms * group)) for group in range(count)] for video_id, start in starts]


def _clip(store: FrameStore, video_id: str, middle_s: float, clip_s: float, num_frames: int) -> NDArray[np.uint8]:
    return store.clip(video_id, clip_start(middle_s, clip_s, store.durations_s[video_id]), num_frames)
