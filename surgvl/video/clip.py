"""A clip as a model takes it: its description, which frames it shows, and the one function that cuts it from a video.

Two rates describe a model's clips. The frames of a clip are 1 / fps apart, and one clip is `step_s` after the other. A
video is therefore read on a grid of `grid_fps` frames per second that contains both: a clip takes every `stride`-th
frame of it, whether the frames come from the file or from a cache, and clips one step apart never show the same frames.
Shapes: T frames given, N frames that the model takes, S side in pixels.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict, Field

from surgvl import video
from surgvl.core.arrays import Float64Array, Int64Array, UInt8Array
from surgvl.core.checks import check_choice
from surgvl.core.errors import ConfigError, DataError
from surgvl.video.geometry import INTERPOLATIONS, KINDS, Geometry, Interpolation, Kind, geometry_of

Side = Annotated[int, Field(strict=True, ge=1, le=4096)]
Length = Annotated[int, Field(strict=True, ge=0, le=16384)]
# Limits that admit a clip of a day and the fastest camera.
Rate = Annotated[float, Field(strict=True, ge=1e-5, le=1000, allow_inf_nan=False)]
Step = Annotated[float, Field(strict=True, ge=1e-3, le=86400, allow_inf_nan=False)]
Crop = Literal["none", "content"]
CROPS = ("none", "content")
Anchor = Literal["last", "centre", "first"]
ANCHORS = ("last", "centre", "first")
VideoLike: TypeAlias = str | Path | ArrayLike
"""A file, or frames uint8 [T, H, W, 3], as an array or a tensor, that are taken as one clip."""
# For times that are whole numbers of frames but for rounding.
EPS = 1e-6
# A header may declare up to a second more than the file holds (see `surgvl.video.decoder`).
GRACE_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How clips are cut from a video for a model.

    Args:
        num_frames: frames of a clip, N.
        fps: frames per second of video time in a clip.
        size_px: side of the square frames, or for `fit` the longer side at most.
        crop: `none`, or `content` to crop to the content area (see `content_area`) before resizing.
        anchor: which frame of a clip shows the moment that it stands for. `last`: the clip shows the past only, as an
            online system sees it, and repeats its earliest frame where the video begins. `centre` and `first` look
            ahead; at the ends of a video, the clip is shifted into it.
        step_s: seconds between the moments that clips stand for.
        geometry: how a picture becomes a frame: `squash`, `crop`, `letterbox` or `fit`; see `surgvl.video.geometry`.
        resize_px: height and width before the centre of `crop` is cut out; 0, 0 for a shorter side of `size_px`.
        interpolation: of the scaling: `area`, `bilinear` or `bicubic`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    num_frames: Side
    fps: Rate
    size_px: Side
    crop: Crop = "none"
    anchor: Anchor = "centre"
    step_s: Step = 1.0
    geometry: Kind = "squash"
    resize_px: tuple[Length, Length] = (0, 0)
    interpolation: Interpolation = "area"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a count, rate or size out of range, or an unknown crop or anchor.
        """
        for name, most in (("num_frames", 4096), ("fps", 1000), ("size_px", 4096), ("step_s", 86400)):
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(f"{name} must be > 0 and <= {most}, got {getattr(self, name)}")
        check_choice("crop", self.crop, CROPS)
        check_choice("anchor", self.anchor, ANCHORS)
        check_choice("geometry", self.geometry, KINDS)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        # From JSON it comes as a list.
        object.__setattr__(self, "resize_px", tuple(self.resize_px))
        if any(self.resize_px) and (self.geometry != "crop" or not all(self.resize_px)):
            raise ConfigError(f"resize_px is height and width for geometry crop, got {self.resize_px}: leave it out")

    @property
    def picture(self) -> Geometry:
        """How a picture becomes a frame."""
        return Geometry(self.size_px, self.geometry, self.resize_px, self.interpolation)

    @property
    def clip_s(self) -> float:
        """Length of a clip, seconds."""
        return self.num_frames / self.fps

    @property
    def stride(self) -> int:
        """Grid frames from one frame of a clip to the next."""
        return max(1, math.ceil(1 / (self.fps * self.step_s) - EPS))

    @property
    def grid_fps(self) -> float:
        """Rate of the frames that a video is read or cached at."""
        return self.fps * self.stride

    @property
    def reach(self) -> int:
        """Grid frames from the first frame of a clip to its last, both included."""
        return (self.num_frames - 1) * self.stride + 1

    @property
    def protocol(self) -> str:
        """What scores with these clips are called: online if no clip looks ahead."""
        return "online" if self.anchor == "last" else "offline"

    def every(self, step_s: float | None) -> "Preprocess":
        """The same with another step; with its own where that is None.

        Raises:
            ConfigError: the step is out of range.
        """
        return self if step_s is None else replace(self, step_s=step_s)

    def moment(self, start_s: float, end_s: float) -> float:
        """The moment of a segment of video, seconds: when its last grid frame, its middle or its first one is shown."""
        return float(self.moments(start_s, end_s))

    def moments(self, start_s: ArrayLike, end_s: ArrayLike) -> Float64Array:
        """The same for segments [N]."""
        start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
        if self.anchor == "last":
            return np.asarray(np.maximum(0, np.ceil(end * self.grid_fps - EPS) - 1) / self.grid_fps)
        if self.anchor == "first":
            return np.asarray(np.floor(start * self.grid_fps + EPS) / self.grid_fps)
        return (start + end) / 2

    def place(self, moment_s: float, duration_s: float) -> int:
        """Where on the grid the clip for a moment lies: the number of its last frame where that is the anchor, else of
        its first one.
        """
        at = moment_s * self.grid_fps
        if self.anchor == "last":
            return max(0, min(math.floor(at + EPS), math.ceil(duration_s * self.grid_fps - EPS) - 1))
        length, total = self.num_frames * self.stride, max(1.0, round(duration_s * self.grid_fps))
        if self.anchor == "first":
            return math.floor(clip_start(at, length, total, 0.0) + EPS)
        # Ties must all be rounded the same way: two clips one step apart would otherwise be one.
        return math.floor(clip_start(at, length, total) + 0.5 + EPS)

    def numbers(self, place: int, num_frames: int | None = None) -> Int64Array:
        """Grid numbers of the frames of the clip at a `place`, int64 [N], ascending; some may lie past the video's end.

        A clip of the past that reaches beyond the start repeats the earliest frame that whole steps lead to, as
        SurgVISTA's released code does (arXiv 2506.02692).

        Args:
            place: see `place`; below 0 where a part of such a clip repeats that frame alone.
            num_frames: N; the clip's own by default.
        """
        steps = np.arange(num_frames or self.num_frames)
        if self.anchor == "last":
            return np.asarray(place - self.stride * np.minimum(steps[::-1], place // self.stride))
        return place + self.stride * steps

    def parts(self, place: int, num_frames: int) -> list[int]:
        """Places of the parts of a clip of which each has `num_frames` frames, a divisor of its own."""
        count, length = self.num_frames // num_frames, self.stride * num_frames
        return [place - length * (count - 1 - k) if self.anchor == "last" else place + length * k for k in range(count)]

    def times_s(self, moment_s: float, duration_s: float) -> list[float]:
        """Times of the frames of the clip for a moment, seconds, [N]."""
        return [number / self.grid_fps for number in self.numbers(self.place(moment_s, duration_s)).tolist()]

    def span_s(self, moment_s: float, duration_s: float) -> tuple[float, float]:
        """From when to when the clip for a moment shows the video, seconds."""
        times_s = self.times_s(moment_s, duration_s)
        return times_s[0], min(times_s[-1] + 1 / self.grid_fps, duration_s)


def clip_start(moment: float, length: float, duration: float, before: float = 0.5) -> float:
    """Start of a clip around a moment, shifted so that the clip lies within its video.

    Args:
        moment: position of the clip, in seconds or in frames, like all other arguments.
        length: length of the clip.
        duration: length of the video; a clip that is longer starts at 0.
        before: fraction of the clip that lies before the moment; 0.5 centres it.
    """
    return min(max(0.0, moment - before * length), max(0.0, duration - length))


def extract_clip(source: VideoLike, want: Preprocess, at_s: float | None = None) -> UInt8Array:
    """Cut one clip, uint8 [N, S, S, 3].

    Args:
        source: a path, or frames uint8 [T, H, W, 3], an array or a tensor, which are resampled in time and size.
        want: frames, rates, size, crop and anchor of the clip.
        at_s: the moment that the clip is for, seconds; None for the middle of the file.

    Raises:
        DataError: the array does not hold frames, the time is outside of the file, or the file cannot be read there.
    """
    if not isinstance(source, str | Path):
        # A tensor is told by its method, because importing its type takes seconds.
        frames = source.detach().cpu().numpy() if hasattr(source, "detach") else np.asarray(source)
        return resample_frames(frames, want.num_frames, want.picture)
    with video.VideoReader(source) as reader:
        duration_s = reader.info.duration_s
        moment_s = duration_s / 2 if at_s is None else at_s
        if not 0 <= moment_s <= duration_s:
            raise DataError(f"{source} lasts {duration_s:.1f} s; {moment_s} s is outside: give a time within it")
        box = reader.content_box() if want.crop == "content" else None
        return read_clip(reader, want, moment_s, duration_s, box)


def read_clip(
    reader: video.VideoReader, want: Preprocess, moment_s: float, duration_s: float, box: video.Box | None
) -> UInt8Array:
    """The clip of an open video for a moment, uint8 [N, S, S, 3].

    Args:
        reader: the video.
        want: frames, rates, size and anchor of the clip.
        moment_s: seconds, within the video.
        duration_s: length of the video.
        box: its content area, where the clip is to be cropped to it.
    """
    kept, where = np.unique(want.numbers(want.place(moment_s, duration_s)), return_inverse=True)
    start_s = float(kept[0]) / want.grid_fps
    clip: UInt8Array = reader.read(start_s, start_s + len(kept) / want.fps, want.fps, want.picture, box)[where]
    return clip


def resample_frames(frames: UInt8Array, num_frames: int, size: int | Geometry) -> UInt8Array:
    """Resample frames in time (nearest frame, evenly spaced) and in size.

    Args:
        frames: uint8 [T, H, W, 3].
        num_frames: N.
        size: side S of a square by area averaging, or another geometry. Frames of its shape are kept as they are.

    Returns:
        uint8 [N, S, S, 3], or [N, h, w, 3].

    Raises:
        DataError: the array does not hold frames.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise DataError(f"frames must be uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    geometry = geometry_of(size)
    height, width = frames.shape[1:3]
    kept = np.linspace(0, len(frames) - 1, num_frames).round().astype(int)
    if (height, width) == geometry.shape(height, width):
        same: UInt8Array = frames[kept]
        return same
    small = {i: geometry.apply(frames[i]) for i in dict.fromkeys(kept.tolist())}
    return np.stack([small[i] for i in kept.tolist()]).astype(np.uint8, copy=False)
