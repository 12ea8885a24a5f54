"""Read and write surgical video: files through PyAV, folders of numbered images, images, always by time in seconds.

    info = probe("operation.mp4")
    clip = read("operation.mp4", start_s=5400.0, end_s=5404.0, fps=4, size_px=224)      # uint8 [16, 224, 224, 3]
    for time_s, picture in stream("operation.mp4", fps=1, size_px=224): ...             # flat memory, any length

Sample i is the frame shown at start_s + i / fps: the one with the latest time stamp that is not after it. The whole
field of view is scaled to a square, so no side is cut; give `crop=content_box(path)` to leave out black borders first.
Everything that is wrong with a file or an argument is a DataError of one line.
"""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.video import content_area
from surgvl.video.content_area import Box, Image
from surgvl.video.decoder import SUFFIXES as VIDEO_SUFFIXES
from surgvl.video.file import VideoFile, VideoInfo
from surgvl.video.frame_folder import SUFFIXES, ImageFolder

__all__ = ["VIDEO_SUFFIXES", "Box", "Image", "Reader", "VideoInfo", "content_box", "probe", "read", "stream", "write"]

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
"""Settings of x264, from the largest file to the slowest encoder."""


class Reader:
    """A video kept open for many reads, one at a time; opening is most of the cost of a short read of a small file.

    Args:
        path: a video file, or a folder of numbered images.
        folder_fps: images per second, if it is a folder.

    Raises:
        DataError: it is absent, empty or not a video.
    """

    def __init__(self, path: Path | str, folder_fps: float = 1.0) -> None:
        self.path = Path(path)
        still = self.path.suffix.lower() in SUFFIXES and self.path.is_file()
        self._source = ImageFolder(self.path, folder_fps) if still or self.path.is_dir() else VideoFile(self.path)

    @property
    def info(self) -> VideoInfo:
        """What `surgvl.video.probe` returns."""
        return self._source.info

    def read(self, start_s: float, end_s: float, fps: float, size_px: int, crop: Box | None = None) -> Image:
        """Read a clip; see `surgvl.video.read`."""
        _check(self.path, start_s, end_s, fps, size_px)
        num_frames = max(1, round((end_s - start_s) * fps))
        clip = np.empty((num_frames, size_px, size_px, 3), np.uint8)
        for number, (_, picture) in enumerate(
            self._source.samples(start_s, fps, num_frames, hold=True, size_px=size_px, crop=crop)
        ):
            clip[number] = picture
        return clip

    def stream(
        self, fps: float, size_px: int, crop: Box | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> Iterator[tuple[float, Image]]:
        """Yield samples in order; see `surgvl.video.stream`."""
        _check(self.path, start_s, start_s if end_s is None else end_s, fps, size_px)
        num_frames = None if end_s is None else max(1, round((end_s - start_s) * fps))
        return self._source.samples(start_s, fps, num_frames, hold=False, size_px=size_px, crop=crop)

    def content_box(self, num_frames: int = 8) -> Box | None:
        """Find the field of view; see `surgvl.video.content_box`."""
        if num_frames < 1:
            raise DataError(
                f"{self.path}: num_frames {num_frames} is not a number of pictures to look at: give 1 or more"
            )
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


def _check(path: Path, start_s: float, end_s: float, fps: float, size_px: int) -> None:
    if not 0 <= start_s < math.inf:
        raise DataError(f"{path}: start_s {start_s} is not a time in a video: give seconds, 0 or more")
    if not start_s <= end_s < math.inf:
        raise DataError(f"{path}: end_s {end_s} is not a time after start_s {start_s}: give a later one")
    if not 0 < fps < math.inf:
        raise DataError(f"{path}: fps {fps} is not a rate: give samples per second, above 0")
    if size_px < 1:
        raise DataError(f"{path}: size_px {size_px} is not a side of a picture: give pixels, 1 or more")


def probe(path: Path | str, folder_fps: float = 1.0) -> VideoInfo:
    """Say how long, fast and large a video is, having decoded its first frame.

    Args:
        path: a video file, or a folder of numbered images.
        folder_fps: images per second, if it is a folder.

    Raises:
        DataError: it is absent, empty, not a video, or no frame can be decoded.
    """
    with Reader(path, folder_fps) as reader:
        return reader.info


def read(
    path: Path | str,
    start_s: float,
    end_s: float,
    fps: float,
    size_px: int,
    crop: Box | None = None,
    folder_fps: float = 1.0,
) -> Image:
    """Read a clip, entering the file at the keyframe before it: as fast at its end as at its start.

    Args:
        path: a video file, or a folder of numbered images.
        start_s: seconds from the first frame, 0 or more.
        end_s: seconds; past the end of the video the last frame is held.
        fps: samples per second of video.
        size_px: side of the square every frame is scaled to (area averaging).
        crop: part of the shown picture to scale, in its pixels; None for all.
        folder_fps: images per second, if it is a folder.

    Returns:
        uint8 [T, size_px, size_px, 3] RGB, T = max(1, round((end_s - start_s) * fps)).

    Raises:
        DataError: an argument is out of range, start_s is beyond the end, or the file is not readable there.
    """
    with Reader(path, folder_fps) as reader:
        return reader.read(start_s, end_s, fps, size_px, crop)


def stream(
    path: Path | str,
    fps: float,
    size_px: int,
    crop: Box | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    folder_fps: float = 1.0,
) -> Iterator[tuple[float, Image]]:
    """Yield (time in seconds, uint8 [size_px, size_px, 3] RGB) in order, decoding the video once and holding one frame.

    Args:
        path: a video file, or a folder of numbered images.
        fps: samples per second of video.
        size_px: side of the square every frame is scaled to (area averaging).
        crop: part of the shown picture to scale, in its pixels; None for all.
        start_s: time of the first sample.
        end_s: as in `read`; None, or a time past the end, for all up to the end of the video.
        folder_fps: images per second, if it is a folder.

    Raises:
        DataError: as `read`; where the file is damaged, after the frames before the damage.
    """
    with Reader(path, folder_fps) as reader:
        yield from reader.stream(fps, size_px, crop, start_s, end_s)


def content_box(path: Path | str, num_frames: int = 8) -> Box | None:
    """Find the field of view inside black borders, or the bounding box of a round one, to give as `crop`.

    Looks at keyframes all over the video. See `surgvl.video.content_area` for what counts.

    Args:
        path: a video file, or a folder of numbered images.
        num_frames: how many pictures to look at.

    Returns:
        The box in pixels of the shown picture; None where the picture fills the frame.

    Raises:
        DataError: the video cannot be read.
    """
    with Reader(path) as reader:
        return reader.content_box(num_frames)


def write(
    path: Path | str, frames: Iterable[Image], fps: float, crf: int = 23, gop: int = 48, preset: str = "veryfast"
) -> None:
    """Write H.264 (yuv420p) in MP4, atomically, holding one frame at a time.

    Args:
        path: the file, ending in .mp4.
        frames: uint8 [H, W, 3] RGB, all of one size, H and W even.
        fps: constant rate, frames per second.
        crf: quality, 0 (lossless) to 51; 18 is hard to tell from the original.
        gop: frames from one keyframe to the next; a random read decodes half of that on average.
        preset: x264's, `ultrafast` to `placebo`: slower is smaller.

    Raises:
        DataError: no frame, one that is not uint8 [H, W, 3] of the first one's even size, or a setting x264 refuses.
    """
    path = Path(path)
    _check_settings(path, fps, crf, gop, preset)
    rate = Fraction(fps).limit_denominator(1001)
    reformatter = VideoReformatter()
    shape: tuple[int, ...] = ()
    try:
        # The index in front lets a browser play the file while it loads.
        with atomic(path) as temporary, av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
            output = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset})
            output.pix_fmt = "yuv420p"
            # One thread: the bytes then do not depend on the number of cores.
            output.codec_context.thread_count = 1
            output.codec_context.gop_size = gop
            for number, frame in enumerate(frames):
                if not shape:
                    shape = frame.shape
                    _check_shape(path, frame)
                    output.height, output.width = shape[:2]
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise DataError(
                        f"{path}: frame {number} is {frame.dtype} {list(frame.shape)}, not uint8 {list(shape)} "
                        "as the first: make all frames alike"
                    )
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture.pts, picture.time_base = number, 1 / rate
                container.mux(output.encode(reformatter.reformat(picture, format="yuv420p")))
            if not shape:
                raise DataError(f"{path}: there is no frame to write: give at least one")
            container.mux(output.encode(None))
    except av.FFmpegError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): check the disk and crf, gop and preset"
        ) from error


def _check_settings(path: Path, fps: float, crf: int, gop: int, preset: str) -> None:
    # Here and not by x264, which prints what it refuses.
    if path.suffix != ".mp4":
        raise DataError(f"{path} does not end in .mp4, the one container written: rename it")
    if not 0 < fps < math.inf:
        raise DataError(f"{path}: fps {fps} is not a rate: give frames per second, above 0")
    if not 0 <= crf <= 51 or gop < 1:
        raise DataError(f"{path}: crf {crf} and gop {gop} are not settings of x264: give crf 0 to 51 and gop 1 or more")
    if preset not in PRESETS:
        raise DataError(f"{path}: preset {preset!r} is not one of x264's: give one of {', '.join(PRESETS)}")


def _check_shape(path: Path, frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise DataError(f"{path}: a frame is {frame.dtype} {list(frame.shape)}: give uint8 [H, W, 3]")
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        raise DataError(
            f"{path}: frames are {width}x{height} px and yuv420p needs even sides: "
            f"crop them to {width - width % 2}x{height - height % 2}"
        )
