"""Sliding windows over a video's stream of frames, and their vectors, in memory that does not grow with its length.

Shapes: T frames, S pixels, E width of the space.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from surgvl import video
from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.core.errors import DataError
from surgvl.video.clip import Preprocess, clip_start


def windows(
    frames: Iterable[UInt8Array], num_frames: int, fps: float, duration_s: float, stride_s: float = 1.0
) -> Iterator[tuple[float, float, UInt8Array]]:
    """Windows of T frames around the middle of each segment of `stride_s`, shifted into the video at its ends.

    Args:
        frames: uint8 [S, S, 3] in order, at `fps`.
        num_frames: T.
        fps: rate of `frames`.
        duration_s: length of the video.
        stride_s: length of a segment.

    Yields:
        start_s and end_s of the segment, and its window uint8 [T, S, S, 3]; a video shorter than a window repeats its
        last frame.
    """
    total = max(1, round(duration_s * fps))
    count = max(1, int(duration_s / stride_s + 1e-6))
    held: deque[UInt8Array] = deque(maxlen=num_frames)
    segment, number = 0, -1

    def last_frame_of(segment: int) -> int:
        return round(clip_start((segment + 0.5) * stride_s * fps, num_frames, total)) + num_frames - 1

    for number, frame in enumerate(frames):
        held.append(frame)
        while segment < count and last_frame_of(segment) <= number:
            yield segment * stride_s, (segment + 1) * stride_s, np.stack(held)
            segment += 1
    # Repeat the last frame where a container announces more than it holds, or a video is shorter than a window.
    if number >= 0:
        tail = list(held) + [held[-1]] * (num_frames - len(held))
        while segment < count and segment * stride_s * fps <= number:
            yield segment * stride_s, (segment + 1) * stride_s, np.stack(tail)
            segment += 1


def encode_windows(
    encode: Callable[[torch.Tensor], torch.Tensor],
    stream: Iterable[tuple[float, float, UInt8Array]],
    batch: int,
    device: str,
) -> tuple[Float32Array, list[float], list[float]]:
    """Encode windows in batches.

    Args:
        encode: maps clips uint8 [B, 3, T, S, S] to vectors [B, E].
        stream: from `windows`.
        batch: windows encoded at once.
        device: torch device of the encoder.

    Returns:
        Vectors float32 [N, E], starts and ends in seconds.

    Raises:
        DataError: the stream is empty.
    """
    out: list[torch.Tensor] = []
    starts: list[float] = []
    ends: list[float] = []
    waiting: list[UInt8Array] = []

    def flush() -> None:
        if waiting:
            clips = torch.from_numpy(np.stack(waiting)).permute(0, 4, 1, 2, 3).to(device)
            out.append(encode(clips).cpu())
            waiting.clear()

    with torch.inference_mode():
        for start_s, end_s, clip in stream:
            starts.append(start_s)
            ends.append(end_s)
            waiting.append(clip)
            if len(waiting) == batch:
                flush()
        flush()
    if not out:
        raise DataError("the video has no frames: check it with a player")
    return torch.cat(out).numpy(), starts, ends


def read_windows(path: Path, preprocess: Preprocess, stride_s: float) -> Iterator[tuple[float, float, UInt8Array]]:
    """Stream the windows of a video file."""
    box = video.content_box(path) if preprocess.crop == "content" else None
    frames = (frame for _, frame in video.stream(path, preprocess.fps, preprocess.size_px, box))
    return windows(frames, preprocess.num_frames, preprocess.fps, video.probe(path).duration_s, stride_s)
