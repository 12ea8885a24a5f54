"""The clips of a video from one pass over its frames, and their vectors, in memory that does not grow with its length.

Shapes: T frames, S pixels, E width of the space.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from surgvl import video
from surgvl.core.arrays import Float32Array, Int64Array, UInt8Array
from surgvl.core.errors import DataError
from surgvl.embed.prefetch import prefetch
from surgvl.video.clip import EPS, GRACE_S, Preprocess

if TYPE_CHECKING:
    import torch

Element = TypeVar("Element", bound=np.generic)


def windows(
    frames: Iterable[NDArray[Element]], preprocess: Preprocess, duration_s: float
) -> Iterator[tuple[float, float, NDArray[Element]]]:
    """The clip of each segment of `step_s`.

    Args:
        frames: uint8 [S, S, 3] of the whole video, on the grid of `preprocess`; or their vectors, float32 [E].
        preprocess: how clips are cut.
        duration_s: length of the video.

    Yields:
        start_s and end_s of the segment, and its clip [T, ...]; past the end of the video the last frame is
        repeated.
    """
    step_s, held = preprocess.step_s, deque[NDArray[Element]](maxlen=preprocess.reach)
    count = max(1, int(duration_s / step_s + EPS))
    segment, last = 0, -1

    def numbers(segment: int) -> Int64Array:
        moment_s = preprocess.moment(segment * step_s, (segment + 1) * step_s)
        return preprocess.numbers(preprocess.place(moment_s, duration_s))

    def cut() -> tuple[float, float, NDArray[Element]]:
        first = last + 1 - len(held)
        clip = np.stack([held[number - first] for number in np.minimum(wanted, last).tolist()])
        return segment * step_s, (segment + 1) * step_s, clip

    wanted = numbers(0)
    for last, frame in enumerate(frames):
        held.append(frame)
        while segment < count and wanted[-1] <= last:
            yield cut()
            segment += 1
            wanted = numbers(segment)
    # A container may announce more than it holds, and a video may be shorter than a clip.
    while last >= 0 and segment < count and segment * step_s * preprocess.grid_fps <= last:
        yield cut()
        segment += 1
        wanted = numbers(segment)


def encode_windows(
    encode: "Callable[[torch.Tensor], torch.Tensor]",
    stream: Iterable[tuple[float, float, UInt8Array]],
    batch: int,
    device: str,
) -> tuple[Float32Array, list[float], list[float]]:
    """Encode windows in batches, while the next are decoded.

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
    # Clips for a server are cut here, too, without torch.
    import torch

    starts: list[float] = []
    ends: list[float] = []

    def parts() -> Iterator[torch.Tensor]:
        each = iter(stream)
        while part := list(islice(each, batch)):
            starts.extend(start_s for start_s, _, _ in part)
            ends.extend(end_s for _, end_s, _ in part)
            yield torch.from_numpy(np.stack([clip for _, _, clip in part])).permute(0, 4, 1, 2, 3)

    with torch.inference_mode():
        out = [encode(clips.to(device)).cpu() for clips in prefetch(parts())]
    if not out:
        raise DataError("the video has no frames: check it with a player")
    return torch.cat(out).numpy(), starts, ends


def read_windows(path: Path, preprocess: Preprocess) -> Iterator[tuple[float, float, UInt8Array]]:
    """Stream the clips of a video file, one for each segment of `step_s`."""
    return windows(read_frames(path, preprocess), preprocess, video.probe(path).duration_s)


def read_frames(path: Path, preprocess: Preprocess) -> Iterator[UInt8Array]:
    """Stream the frames of a video file on the grid of `preprocess`, uint8 [S, S, 3] each."""
    box = video.content_box(path) if preprocess.crop == "content" else None
    return (frame for _, frame in video.stream(path, preprocess.grid_fps, preprocess.picture, box))


def shown_frames(preprocess: Preprocess, duration_s: float) -> NDArray[np.bool_]:
    """Which frames of the grid the clips of a video show, bool [number of frames, and beyond its end]."""
    step_s, place = preprocess.step_s, preprocess.place
    count = max(1, int(duration_s / step_s + EPS))
    at = preprocess.moments(np.arange(count) * step_s, np.arange(1, count + 1) * step_s)
    numbers = np.concatenate([preprocess.numbers(place(moment_s, duration_s)) for moment_s in at.tolist()])
    shown = np.zeros(int(numbers.max()) + 1, np.bool_)
    shown[numbers] = True
    # A file may hold less than its header says: its last frame stands for those that are missing.
    last = max(0, round((duration_s - GRACE_S) * preprocess.grid_fps))
    shown[last:] = True
    return shown
