"""Read clips and streams of frames from a video file, a folder of numbered images or a single image."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from surgvl.core.errors import DataError
from surgvl.video import content_area
from surgvl.video.content_area import Box, Image
from surgvl.video.file import VideoFile, VideoInfo
from surgvl.video.frame_folder import IMAGE_SUFFIXES, ImageFolder
from surgvl.video.geometry import Geometry, geometry_of


class VideoReader:
    """A video that stays open for many reads, one at a time: opening is most of the cost of a short read.

    Args:
        path: a video file, or a folder of numbered images.
        folder_fps: images per second of a folder.

    Raises:
        DataError: the path is absent, empty or not a video.
    """

    def __init__(self, path: Path | str, folder_fps: float = 1.0) -> None:
        self.path = Path(path)
        still = self.path.suffix.lower() in IMAGE_SUFFIXES and self.path.is_file()
        self._source = ImageFolder(self.path, folder_fps) if still or self.path.is_dir() else VideoFile(self.path)

    @property
    def info(self) -> VideoInfo:
        """See `surgvl.video.probe`."""
        return self._source.info

    def read(self, start_s: float, end_s: float, fps: float, size_px: int | Geometry, crop: Box | None = None) -> Image:
        """Read a clip; see `surgvl.video.read`."""
        geometry = _checked(self.path, start_s, end_s, fps, size_px)
        num_frames = max(1, round((end_s - start_s) * fps))
        clip = np.empty((num_frames, *self.shape(geometry, crop), 3), np.uint8)
        for number, (_, picture) in enumerate(
            self._source.samples(start_s, fps, num_frames, hold=True, geometry=geometry, crop=crop)
        ):
            clip[number] = picture
        return clip

    def shape(self, size_px: int | Geometry, crop: Box | None = None) -> tuple[int, int]:
        """Height and width of the frames that `read` gives."""
        geometry = geometry_of(size_px)
        if geometry.kind != "fit":
            return geometry.size_px, geometry.size_px
        if crop is not None:
            return geometry.shape(crop.bottom - crop.top, crop.right - crop.left)
        return geometry.shape(self.info.height_px, self.info.width_px)

    def stream(
        self,
        fps: float,
        size_px: int | Geometry,
        crop: Box | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> Iterator[tuple[float, Image]]:
        """Stream samples in order; see `surgvl.video.stream`."""
        geometry = _checked(self.path, start_s, start_s if end_s is None else end_s, fps, size_px)
        num_frames = None if end_s is None else max(1, round((end_s - start_s) * fps))
        return self._source.samples(start_s, fps, num_frames, hold=False, geometry=geometry, crop=crop)

    def content_box(self, num_frames: int = 8) -> Box | None:
        """Find the field of view; see `surgvl.video.content_box`."""
        if num_frames < 1:
            raise DataError(f"{self.path}: num_frames must be >= 1, got {num_frames}")
        duration_s = self.info.duration_s
        times_s = ((number + 0.5) / num_frames * duration_s for number in range(num_frames))
        return content_area.find(self._source.near(time_s) for time_s in times_s)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(path: Path, start_s: float, end_s: float, fps: float, size_px: int | Geometry) -> Geometry:
    if not 0 <= start_s < math.inf:
        raise DataError(f"{path}: start_s must be a finite number of seconds >= 0, got {start_s}")
    if not start_s <= end_s < math.inf:
        raise DataError(f"{path}: end_s must be a finite number of seconds >= start_s {start_s}, got {end_s}")
    if not 0 < fps < math.inf:
        raise DataError(f"{path}: fps must be > 0 samples per second, got {fps}")
    geometry = geometry_of(size_px)
    if geometry.size_px < 1:
        raise DataError(f"{path}: size_px must be >= 1, got {geometry.size_px}")
    return geometry


def probe(path: Path | str, folder_fps: float = 1.0) -> VideoInfo:
    """Duration, rate and size of a video, from its header and its first frame.

    Args:
        path: a video file, or a folder of numbered images.
        folder_fps: images per second of a folder.

    Raises:
        DataError: the path is absent, empty, not a video, or no frame can be decoded.
    """
    with VideoReader(path, folder_fps) as reader:
        return reader.info


def read(
    path: Path | str,
    start_s: float,
    end_s: float,
    fps: float,
    size_px: int | Geometry,
    crop: Box | None = None,
    folder_fps: float = 1.0,
) -> Image:
    """Read a clip. Decoding starts at the keyframe before it, so a clip at the end is read as fast as one at the start.

    Args:
        path: a video file, or a folder of numbered images.
        start_s: seconds from the first frame, 0 or more.
        end_s: seconds; past the end of the video the last frame is repeated.
        fps: samples per second of video.
        size_px: side S of the square that every frame is scaled to (area averaging), or another geometry.
        crop: part of the displayed picture to scale, in its pixels; None for all.
        folder_fps: images per second of a folder.

    Returns:
        uint8 [T, S, S, 3] RGB ([T, h, w, 3] for a geometry of kind `fit`), T = max(1, round((end_s - start_s) * fps)).

    Raises:
        DataError: an argument is out of range, start_s is past the end, or the file cannot be read there.
    """
    with VideoReader(path, folder_fps) as reader:
        return reader.read(start_s, end_s, fps, size_px, crop)


def stream(
    path: Path | str,
    fps: float,
    size_px: int | Geometry,
    crop: Box | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    folder_fps: float = 1.0,
) -> Iterator[tuple[float, Image]]:
    """Yield (time in seconds, uint8 [S, S, 3] RGB) in order: one decoding pass, one frame in memory.

    Args:
        path: a video file, or a folder of numbered images.
        fps: samples per second of video.
        size_px: side S of the square that every frame is scaled to (area averaging), or another geometry.
        crop: part of the displayed picture to scale, in its pixels; None for all.
        start_s: time of the first sample.
        end_s: as in `read`; None, or a time past the end, for everything up to the end of the video.
        folder_fps: images per second of a folder.

    Raises:
        DataError: as in `read`; for a damaged file, after the frames before the damage.
    """
    with VideoReader(path, folder_fps) as reader:
        yield from reader.stream(fps, size_px, crop, start_s, end_s)


def content_box(path: Path | str, num_frames: int = 8) -> Box | None:
    """Find the field of view inside black borders, or the bounding box of a round one, to pass as `crop`.

    Looks at keyframes spread over the video. See `surgvl.video.content_area` for the method.

    Args:
        path: a video file, or a folder of numbered images.
        num_frames: number of frames to look at.

    Returns:
        The box in pixels of the displayed picture; None if the picture fills the frame.

    Raises:
        DataError: the video cannot be read.
    """
    with VideoReader(path) as reader:
        return reader.content_box(num_frames)
