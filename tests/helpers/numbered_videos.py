"""Small videos whose frames show their own number, made by PyAV alone, for the tests of `surgvl.video`."""

import functools
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from surgvl.video.content_area import Image

WIDTH, HEIGHT = 64, 48
BITS = 1 << np.arange(12)
X264 = {"preset": "veryfast", "bf": "3"}


def picture(index: int) -> Image:
    """A picture that says its number: twelve bits as black or white blocks of 16 pixels."""
    bits = np.array([(index >> bit) & 1 for bit in range(12)], np.uint8).reshape(3, 4) * 255
    return np.repeat(bits.repeat(16, 0).repeat(16, 1)[..., None], 3, axis=2)


def number_in(image: Image) -> int:
    """The number that a picture says, read in the middle of each block."""
    rows, columns = _middles(*image.shape[:2])
    return int((image[rows, columns].sum(1) > 127 * image.shape[2]) @ BITS)


@functools.cache
def _middles(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the middles of the twelve blocks."""
    rows, columns = (np.arange(3) * 2 + 1) * height // 6, (np.arange(4) * 2 + 1) * width // 8
    return np.repeat(rows, 4), np.tile(columns, 3)


def encode(
    path: Path,
    stamps: Sequence[int],
    tick: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    options: dict[str, str] = X264,
    container_options: dict[str, str] | None = None,
    turn: Callable[["av.VideoStream"], None] = lambda stream: None,
) -> None:
    """Write numbered pictures with given time stamps, by PyAV alone."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = cast("av.VideoStream", container.add_stream(codec, rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = 30
        stream.codec_context.thread_count = 1
        turn(stream)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = stamp, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def brute_force(path: Path) -> list[tuple[float, int]]:
    """Every frame, decoded in order: (seconds since the first, number in it)."""
    # Frames are so small that threads would do nothing but wait for one another.
    reformatter = VideoReformatter()
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = [
            (
                float((frame.pts or 0) * (frame.time_base or 0)),
                number_in(np.asarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray())),
            )
            for frame in container.decode(video=0)
        ]
    return [(time_s - frames[0][0], number) for time_s, number in frames]


def shown(frames: list[tuple[float, int]], time_s: float, slack_s: float) -> int:
    return frames[max(0, bisect_right(frames, time_s + slack_s, key=itemgetter(0)) - 1)][1]


def colourful(number: int, height: int = 96, width: int = 128) -> Iterator[Image]:
    dice = np.random.default_rng(0)
    coarse = dice.integers(0, 255, (4, 5, 3), dtype=np.uint8)
    base = np.asarray(cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    for index in range(number):
        yield base[:, index % width : index % width + width]


EVEN = list(range(250))
IRREGULAR = np.cumsum(random.Random(0).choices([1, 2, 3, 10, 60], k=250)).tolist()
FILES: dict[str, dict[str, Any]] = {
    "constant.mp4": {"stamps": EVEN},
    "variable.mp4": {"stamps": IRREGULAR, "tick": Fraction(1, 100)},
    "variable.mkv": {"stamps": IRREGULAR, "tick": Fraction(1, 1000)},
    "late_start.mp4": {"stamps": [index + 77 for index in EVEN]},
    "no_edit_list.mp4": {"stamps": EVEN, "container_options": {"use_editlist": "0"}},
    "fragments.mp4": {"stamps": EVEN, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "open_groups.mp4": {"stamps": EVEN, "options": {**X264, "x264-params": "open-gop=1:scenecut=0:keyint=30"}},
    "no_length_no_index.mkv": {"stamps": EVEN, "container_options": {"live": "1"}},
    "broadcast.ts": {"stamps": EVEN},
    "mpeg2.ts": {"stamps": EVEN, "codec": "mpeg2video", "options": {"bf": "2"}},
    "flash.flv": {"stamps": EVEN},
    "windows.wmv": {"stamps": EVEN, "codec": "wmv2", "options": {}},
    "h264.avi": {"stamps": EVEN},
    "mpeg4.avi": {"stamps": EVEN, "codec": "mpeg4", "options": {"bf": "2"}},
}
