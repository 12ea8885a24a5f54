"""Data of a probe: the clips of a split, one a second by default, their tokens and their labels.

Shapes: N clips, T frames, S pixels, K tokens of a clip, D width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.frame_store import ClipKey, FrameStore
from surgvl.data.manifest import Manifest
from surgvl.embed.features import Features
from surgvl.embed.vectors import Vectors
from surgvl.models.vit import VideoViT
from surgvl.probe.fit import by_video
from surgvl.probe.labels import Head, Truth, truth_of
from surgvl.probe.tokens import encode, num_groups
from surgvl.video.clip import Preprocess


@dataclass(frozen=True)
class ClipSpec:
    """How clips are cut and kept.

    Attributes:
        frame_step: only the middle one of this many consecutive frames is encoded.
        batch: clips encoded at once.
        average: keep only the mean of each clip's tokens.
        largest_gb: maximum size of the tokens, GB.
        heads: kinds of labels.
    """

    frame_step: int
    batch: int
    average: bool
    largest_gb: float
    heads: Sequence[Head]


@dataclass(frozen=True)
class ProbeData:
    """Clips of a split: video ids [N], moments float64 [N] in seconds, tokens float16 [N, K, D], labels by head."""

    video_ids: list[str]
    times_s: NDArray[np.float64]
    tokens: NDArray[np.float16]
    truth: Truth

    @property
    def videos(self) -> list[NDArray[np.int64]]:
        """Rows of each video in temporal order."""
        return by_video(self.video_ids, self.times_s)

    def take(self, rows: NDArray[np.int64]) -> "ProbeData":
        """Some of the clips."""
        truth = {head: labels[rows] for head, labels in self.truth.items()}
        return ProbeData([self.video_ids[row] for row in rows], self.times_s[rows], self.tokens[rows], truth)


def moments(preprocess: Preprocess, duration_s: float) -> list[float]:
    """The moments of the segments of `step_s` of a video, seconds; of all of a video that is shorter than one."""
    step_s = preprocess.step_s
    count = int(duration_s / step_s + 1e-6)
    if count == 0:
        return [preprocess.moment(0, duration_s)]
    starts = np.arange(count) * step_s
    found: list[float] = preprocess.moments(starts, starts + step_s).tolist()
    return found


def gather(
    store: FrameStore, table: Manifest, encoder: VideoViT, spec: ClipSpec, file: Path, stored: Path | None = None
) -> ProbeData:
    """Cut the clip of each segment, and encode it.

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
    times_s: list[float] = []
    for video_id in table.video_ids():
        found = moments(store.preprocess, store.durations_s[video_id])
        ids += [video_id] * len(found)
        times_s += found
    if not ids:
        raise DataError("a split has no readable video: see the problems listed, and --split")
    num_frames, step = store.preprocess.num_frames, spec.frame_step
    num_kept = num_frames // step
    keys = [store.key(*pair) for pair in zip(ids, times_s, strict=True)]
    length = 1 if spec.average else num_groups(encoder, num_kept) * encoder.num_tokens
    if (size_gb := 2e-9 * len(ids) * length * encoder.dim) > spec.largest_gb:
        raise ConfigError(
            f"the tokens of {len(ids)} clips take {size_gb:.2g} GB, more than --tokens_gb {spec.largest_gb:g}: give a "
            f"larger --clip.every_s than {store.preprocess.step_s:g}, --readout linear, or more room"
        )

    def read() -> Iterator[NDArray[np.uint8] | Tensor]:
        parts: list[list[ClipKey]] = []
        if stored is not None and step == 1:
            of = encoder.config.num_frames
            parts = [[(name, part) for part in store.preprocess.parts(place, of)] for name, place in keys]
        flat = [clip for part in parts for clip in part]
        features = Features(encoder, store, stored or file.parent)
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
            clips = np.stack([store.clip(key) for key in keys[at : at + spec.batch]])
            yield np.ascontiguousarray(clips[:, step // 2 :: step])

    tokens = encode(encoder, read(), len(ids), num_kept, file, spec.average)
    return ProbeData(ids, np.asarray(times_s), tokens, truth_of(table, spec.heads, ids, times_s))


def of_vectors(vectors: Vectors, table: Manifest, heads: Sequence[Head]) -> ProbeData:
    """Stored vectors of clips as tokens [N, 1, E], by video and time, of those videos that a manifest has.

    Raises:
        DataError: it has none of them.
    """
    wanted = set(table.video_ids())
    rows = np.flatnonzero([video_id in wanted for video_id in vectors.video_ids])
    if not len(rows):
        raise DataError(f"{vectors.folder} has no vectors of a split's videos: embed them, or see --split")
    ids, times_s = [vectors.video_ids[row] for row in rows], vectors.times_s[rows]
    order = np.lexsort((times_s, np.asarray(ids, np.str_)))
    ids, times_s = [ids[at] for at in order], times_s[order]
    tokens = vectors.vectors[rows[order]].astype(np.float16)[:, None]
    return ProbeData(ids, times_s, tokens, truth_of(table, heads, ids, times_s.tolist()))
