"""Write H.264 video in MP4."""

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.video.content_area import Image

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
"""Speed presets of x264, from the fastest encoding to the smallest file."""


def write(
    path: Path | str, frames: Iterable[Image], fps: float, crf: int = 23, gop: int = 48, preset: str = "veryfast"
) -> None:
    """Write H.264 (yuv420p) in MP4, atomically, with one frame in memory at a time.

    Args:
        path: the file, ending in .mp4.
        frames: uint8 [H, W, 3] RGB, all of the same size, H and W even.
        fps: constant rate, frames per second.
        crf: quality, 0 (lossless) to 51; 18 is visually near lossless.
        gop: frames from one keyframe to the next; a random read decodes half as many on average.
        preset: of x264, `ultrafast` to `placebo`: slower encoding gives smaller files.

    Raises:
        DataError: no frame, a frame that is not uint8 [H, W, 3] of the first one's even size, or an invalid setting.
    """
    path = Path(path)
    _check_settings(path, fps, crf, gop, preset)
    rate = Fraction(fps).limit_denominator(1001)
    reformatter = VideoReformatter()
    shape: tuple[int, ...] = ()
    try:
        # With the index in front, a browser plays the file while it loads.
        with atomic(path) as temporary, av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
            output = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset})
            output.pix_fmt = "yuv420p"
            # One thread, so that the bytes do not depend on the number of cores.
            output.codec_context.thread_count = 1
            output.codec_context.gop_size = gop
            for number, frame in enumerate(frames):
                if not shape:
                    shape = frame.shape
                    _check_shape(path, frame)
                    output.height, output.width = shape[:2]
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise DataError(
                        f"{path}: frame {number} is {frame.dtype} {list(frame.shape)}; all frames must be "
                        f"uint8 {list(shape)} like the first"
                    )
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture.pts, picture.time_base = number, 1 / rate
                # Threads of libswscale wait longer for one another than a small frame takes.
                container.mux(output.encode(reformatter.reformat(picture, format="yuv420p", threads=1)))
            if not shape:
                raise DataError(f"{path}: no frame to write: give at least one")
            container.mux(output.encode(None))
    except av.FFmpegError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): check free disk space, and crf, gop and preset"
        ) from error


def _check_settings(path: Path, fps: float, crf: int, gop: int, preset: str) -> None:
    # x264 would print its own messages.
    if path.suffix != ".mp4":
        raise DataError(f"{path} must end in .mp4, the only container that is written: rename it")
    if not 0 < fps < math.inf:
        raise DataError(f"{path}: fps must be > 0 frames per second, got {fps}")
    if not 0 <= crf <= 51 or gop < 1:
        raise DataError(f"{path}: crf must be 0 to 51 and gop >= 1, got crf {crf} and gop {gop}")
    if preset not in PRESETS:
        raise DataError(f"{path}: preset must be one of {', '.join(PRESETS)}; got {preset!r}")


def _check_shape(path: Path, frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise DataError(f"{path}: frames must be uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        raise DataError(
            f"{path}: frames are {width}x{height} px and yuv420p needs even sides: "
            f"crop them to {width - width % 2}x{height - height % 2}"
        )
