"""One clip of a video as a model takes it, wherever the model runs: here, or behind a server.

Shapes: T frames that came, N frames that the model takes, S their side in pixels.
"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.models.model_info import Preprocess
from surgvl.video.resample import fit


def first_s(want: Preprocess, centre_s: float, duration_s: float) -> float:
    """Where a clip around a moment starts, seconds: it is shifted into the video at its ends."""
    return float(np.clip(centre_s - want.clip_s / 2, 0, max(0.0, duration_s - want.clip_s)))


def cut(source: str | Path | ArrayLike, want: Preprocess, at_s: float | None = None) -> NDArray[np.uint8]:
    """Cut one clip, uint8 [N, S, S, 3].

    Args:
        source: a path; or frames uint8 [T, H, W, 3], resampled in time and size.
        want: how the model takes clips.
        at_s: centre of the clip in a file, seconds; its middle where it is left out.

    Raises:
        DataError: the array is not frames, or the file cannot be read there.
    """
    if not isinstance(source, str | Path):
        return fit(np.asarray(source), want.num_frames, want.size_px)
    info = video.probe(source)
    centre_s = info.duration_s / 2 if at_s is None else at_s
    if not 0 <= centre_s <= info.duration_s:
        raise DataError(f"{source} lasts {info.duration_s:.1f} s; {centre_s} s is outside: give a time in it")
    start_s = first_s(want, centre_s, info.duration_s)
    box = video.content_box(source) if want.crop == "content" else None
    return video.read(source, start_s, start_s + want.clip_s, want.fps, want.size_px, box)
