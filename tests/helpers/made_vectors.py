"""Random unit vectors, and vectors folders as `embed` writes them."""

from pathlib import Path
from typing import Any

import numpy as np

from surgvl.data.manifest import Manifest, VideoRow
from surgvl.embed.meta import Meta, write_meta
from surgvl.embed.vectors import Vectors, write_shard


def unit(rng: np.random.Generator, num: int, dim: int) -> Any:
    vectors = rng.normal(size=(num, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def footage(num: int, dim: int, seed: int = 0, per_recording: int = 200) -> Any:
    """Unit vectors of recordings in scenes of 20 clips that drift, all in one cone, as towers embed clips."""
    rng = np.random.default_rng(seed)
    styles = np.repeat(0.5 * rng.normal(size=(num // per_recording, dim)), per_recording // 20, 0)
    scenes = rng.normal(size=(num // 20, dim)) + styles
    drift = np.cumsum(0.1 * rng.normal(size=(num // 20, 20, dim)), axis=1)
    rows = (scenes[:, None] + drift).reshape(num, dim) + 0.15 * rng.normal(size=(num, dim)) + 0.6
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sentences(clips: Any, num: int, seed: int = 0) -> Any:
    """Unit vectors further from all clips than these from one another, each nearest to one of them."""
    rng = np.random.default_rng(seed)
    rows = clips[rng.integers(0, len(clips), num)] + 0.15 * rng.normal(size=(num, clips.shape[1]))
    rows = rows - 0.9 * clips.mean(0) + 0.3 * np.random.default_rng(0).normal(size=clips.shape[1])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


DIM = 16


def clips(
    folder: Path, videos: dict[str, int], seed: int = 0, model_hash: str = "hash-a", clip_s: float = 4.0
) -> tuple[Vectors, Manifest]:
    """Random unit vectors, one a second, as `embed` tiles videos of these lengths.

    Windows are pushed into the video, so the first two and the last two seconds share theirs: length - 2 moments.
    """
    rng = np.random.default_rng(seed)
    names, starts = [], []
    for name, length in videos.items():
        names += [name] * length
        starts += [min(max(0.0, k + 0.5 - clip_s / 2), max(0.0, length - clip_s)) for k in range(length)]
    vectors = unit(rng, len(names), DIM)
    same = [at for at in range(1, len(names)) if (names[at], starts[at]) == (names[at - 1], starts[at - 1])]
    vectors[same] = vectors[[at - 1 for at in same]]
    meta = Meta(
        model="dual", model_hash=model_hash, dim=DIM, clip_s=clip_s, stride_s=1, num_vectors=len(names),
        frozen=True, num_trainable=0, pretraining_video_ids=["seen"],
    )  # fmt: skip
    ends = np.array(starts) + clip_s
    write_shard(folder, 0, vectors, names, starts, ends)
    write_meta(folder, meta)
    manifest = Manifest(
        [
            VideoRow(video_id=name, path=f"{name}.mp4", source="made", fps=25, duration_s=length,
                     procedure="even" if length % 2 == 0 else "odd")
            for name, length in videos.items()
        ],
        root=folder,
    )  # fmt: skip
    return Vectors.load(folder), manifest
