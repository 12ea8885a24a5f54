"""The vectors of a video file, from one pass over its frames.

A model that sees frames encodes each frame once, however many clips show it. Memory does not grow with the length of
the video, but for the vectors.
Shapes: N segments, T frames of a clip, S pixels, E width of the space, B frames of a batch.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from surgvl import video
from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.core.errors import DataError
from surgvl.embed.prefetch import prefetch
from surgvl.embed.windows import Element, encode_windows, read_frames, shown_frames, windows
from surgvl.models.video_text import FrameText, VideoText
from surgvl.models.vit import VideoViT
from surgvl.video.clip import Preprocess

# Clips of vectors that are pooled at once.
POOLED = 256
# Clips, or frames, encoded at once. On a CPU a ResNet-50 takes 1.3 times as long for 32 frames as for four times 8,
# because what lies between two layers then no longer fits its cache (benchmarks/zero_shot.py).
CLIPS, FRAMES = 32, 8


def encode_file(
    model: VideoText | VideoViT,
    path: Path,
    preprocess: Preprocess,
    batch: int | None,
    device: str,
    tick: Callable[[float], object] = lambda _: None,
) -> tuple[Float32Array, list[float], list[float]]:
    """One unit vector for each segment of `step_s`; that of a bare video encoder is its mean token.

    Args:
        model: on the device.
        path: the file.
        preprocess: how its clips are cut.
        batch: clips, or frames of a model that sees these, encoded at once; None for `FRAMES` on a CPU, else `CLIPS`.
        device: torch device.
        tick: called with the number of seconds that have been read since the last call.

    Returns:
        Vectors float32 [N, E], starts and ends in seconds.

    Raises:
        DataError: the file cannot be read, or has no frames.
    """
    duration_s = video.probe(path).duration_s
    frames = read_frames(path, preprocess)
    if not isinstance(model, FrameText):
        stream = _told(windows(frames, preprocess, duration_s), tick)
        return encode_windows(clip_encoder(model), stream, batch or CLIPS, device)
    count = batch or (FRAMES if device.startswith("cpu") else CLIPS)
    vectors = frame_vectors(model, frames, shown_frames(preprocess, duration_s), count, device)
    clips = _told(windows(vectors, preprocess, duration_s), tick)
    found, starts, ends = [], list[float](), list[float]()
    while part := list(islice(clips, POOLED)):
        starts += [start_s for start_s, _, _ in part]
        ends += [end_s for _, end_s, _ in part]
        with torch.inference_mode():
            stacked = torch.from_numpy(np.stack([clip for _, _, clip in part]))
            found.append(model.pool_frames(stacked.to(device)).cpu().numpy())
    if not found:
        raise DataError(f"{path} has no frames: check it with a player")
    return np.concatenate(found), starts, ends


def clip_encoder(model: VideoText | VideoViT) -> Callable[[Tensor], Tensor]:
    """Clips [B, 3, T, H, W] -> unit vectors float32 [B, E]; of a bare video encoder, its mean tokens."""
    if isinstance(model, VideoText):
        return model.encode_video
    return lambda video: F.normalize(model(video).mean(1).float(), dim=-1)


def frame_vectors(
    model: FrameText, frames: Iterable[UInt8Array], shown: NDArray[np.bool_], batch: int, device: str
) -> Iterator[Float32Array]:
    """Unit vectors of frames, float32 [E] each, encoded B at a time while the next are decoded.

    Args:
        model: on the device.
        frames: uint8 [S, S, 3], by their numbers.
        shown: whether a clip shows a frame, bool [number of frames]; the others, and those beyond, are not encoded, and
            their vectors are zeros.
        batch: B.
        device: torch device.
    """

    def parts() -> Iterator[tuple[list[bool], Tensor]]:
        numbered = enumerate(frames)
        while part := list(islice(numbered, batch)):
            kept = [number < len(shown) and bool(shown[number]) for number, _ in part]
            pixels = [frame for keep, (_, frame) in zip(kept, part, strict=True) if keep]
            yield kept, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) if pixels else torch.empty(0)

    none = np.zeros(model.dim, np.float32)
    for kept, pixels in prefetch(parts()):
        with torch.inference_mode():
            found = iter(model.encode_frames(pixels.to(device)).cpu().numpy() if len(pixels) else ())
        yield from (next(found) if keep else none for keep in kept)


def _told(
    stream: Iterable[tuple[float, float, NDArray[Element]]], tick: Callable[[float], object]
) -> Iterator[tuple[float, float, NDArray[Element]]]:
    for start_s, end_s, clip in stream:
        yield start_s, end_s, clip
        tick(end_s - start_s)
