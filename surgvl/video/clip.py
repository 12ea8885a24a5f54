"""A clip as a model takes it: its description, its start, and the one function that cuts it from a video.

Shapes: T frames given, N frames that the model takes, S side in pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict, Field

from surgvl import video
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError, DataError

Side = Annotated[int, Field(strict=True, ge=1, le=4096)]
# Limits that admit a clip of a day and the fastest camera.
Rate = Annotated[float, Field(strict=True, ge=1e-5, le=1000, allow_inf_nan=False)]
Crop = Literal["none", "content"]
CROPS = ("none", "content")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a clip is cut from a video for a model.

    Args:
        num_frames: frames of a clip, T.
        fps: frames per second of video time.
        size_px: side of the square frames.
        crop: `none`, or `content` to crop to the content area (see `content_area`) before resizing.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    num_frames: Side
    fps: Rate
    size_px: Side
    crop: Crop = "none"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a count, rate or size out of range, or an unknown crop.
        """
        for name, most in (("num_frames", 4096), ("fps", 1000), ("size_px", 4096)):
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(f"{name} must be > 0 and <= {most}, got {getattr(self, name)}")
        if self.crop not in CROPS:
            raise ConfigError(f"crop must be one of {', '.join(CROPS)}; got {self.crop!r}")

    @property
    def clip_s(self) -> float:
        """Length of a clip, seconds."""
        return self.num_frames / self.fps


def clip_start(moment: float, length: float, duration: float, before: float = 0.5) -> float:
    """Start of a clip around a moment, shifted so that the clip lies within its video.

    Args:
        moment: position of the clip, in seconds or in frames, like all other arguments.
        length: length of the clip.
        duration: length of the video; a clip that is longer starts at 0.
        before: fraction of the clip that lies before the moment; 0.5 centres it.
    """
    return min(max(0.0, moment - before * length), max(0.0, duration - length))


def extract_clip(source: str | Path | ArrayLike, want: Preprocess, at_s: float | None = None) -> UInt8Array:
    """Cut one clip, uint8 [N, S, S, 3].

    Args:
        source: a path, or frames uint8 [T, H, W, 3], which are resampled in time and size.
        want: frames, rate, size and crop of the clip.
        at_s: centre of the clip, seconds; None for the middle of the file.

    Raises:
        DataError: the array does not hold frames, the time is outside of the file, or the file cannot be read there.
    """
    if not isinstance(source, str | Path):
        return resample_frames(np.asarray(source), want.num_frames, want.size_px)
    info = video.probe(source)
    centre_s = info.duration_s / 2 if at_s is None else at_s
    if not 0 <= centre_s <= info.duration_s:
        raise DataError(f"{source} lasts {info.duration_s:.1f} s; {centre_s} s is outside: give a time within it")
    start_s = clip_start(centre_s, want.clip_s, info.duration_s)
    box = video.content_box(source) if want.crop == "content" else None
    return video.read(source, start_s, start_s + want.clip_s, want.fps, want.size_px, box)


def resample_frames(frames: UInt8Array, num_frames: int, size_px: int) -> UInt8Array:
    """Resample frames in time (nearest frame, evenly spaced) and in size (area averaging).

    Args:
        frames: uint8 [T, H, W, 3].
        num_frames: N.
        size_px: S.

    Returns:
        uint8 [N, S, S, 3].

    Raises:
        DataError: the array does not hold frames.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise DataError(f"frames must be uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    kept = np.linspace(0, len(frames) - 1, num_frames).round().astype(int)
    if frames.shape[1:3] == (size_px, size_px):
        same: UInt8Array = frames[kept]
        return same
    size = (size_px, size_px)
    small = {i: cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in dict.fromkeys(kept.tolist())}
    return np.stack([small[i] for i in kept.tolist()]).astype(np.uint8, copy=False)
