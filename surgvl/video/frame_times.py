"""When each frame of a video is shown: its presentation time stamps, read from the packets without decoding.

A frame is shown from its own time to that of the next one, and the last for its duration. Variable rates need no
special treatment, but for tools that know a video only as frames of one rate (see `FrameTimes.clock_fps`).
Shapes: F frames.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.video.decoder import MAX_FPS, FrameDecoder
from surgvl.video.frame_folder import IMAGE_SUFFIXES, sorted_images

# Time stamps of Matroska are rounded to 1 ms.
_SLACK_S = 6e-4


@dataclass(frozen=True)
class FrameTimes:
    """The times of a video's frames.

    Attributes:
        times_s: when each frame begins, seconds since the first one, ascending, float64 [F].
        end_s: when the last one ends.
        declared_fps: rate that the file declares.
    """

    times_s: Float64Array
    end_s: float
    declared_fps: float

    def __len__(self) -> int:
        return len(self.times_s)

    def first_from(self, time_s: float) -> int:
        """Number, from 0, of the first frame that begins at a time or later; F if there is none."""
        return int(np.searchsorted(self.times_s, time_s - _SLACK_S))

    def begin_s(self, number: int) -> float:
        """When a frame begins, by its number from 0; the end of the video for F."""
        return float(self.times_s[number]) if number < len(self) else self.end_s

    @functools.cached_property
    def even_fps(self) -> float | None:
        """The rate that places every frame within half a frame of its time; None if the rate varies."""
        rates = [self.declared_fps]
        if len(self) > 1:
            rates.append((len(self) - 1) / float(self.times_s[-1]))
        numbers = np.arange(len(self))
        return next((fps for fps in rates if np.abs(self.times_s * fps - numbers).max() < 0.5), None)

    @functools.cached_property
    def clock_fps(self) -> float:
        """The even rate; else one at which every frame is shown for at least one tick."""
        return self.even_fps or round(min(MAX_FPS, 1 / float(np.diff(self.times_s).min())), 6)

    def tick(self, number: int) -> int:
        """First tick, from 0, of a clock of `clock_fps` at which a frame is shown; for F, the first after the end."""
        if self.even_fps:
            return number
        return math.ceil(self.begin_s(number) * self.clock_fps - 1e-6)


def frame_times(path: Path | str, folder_fps: float = 1.0) -> FrameTimes:
    """Times of all frames of a video.

    Args:
        path: a video file, which is read once; or a folder of numbered images, or one image.
        folder_fps: images per second of a folder.

    Raises:
        DataError: it cannot be read, is truncated, or has no frames.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        number = len(sorted_images(path)) if path.is_dir() else 1
        return FrameTimes(np.arange(number) / folder_fps, number / folder_fps, folder_fps)
    decoder = FrameDecoder(path)
    try:
        found: list[float] = []
        key_s: float | None = None
        last_s, lasts_s = -math.inf, 0.0
        for packet in decoder.packets(0.0):
            # An AVI has a time for each frame in coding order; in display order the frames take the same times.
            stamp = packet.pts if decoder.has_stamps and packet.pts is not None else packet.dts
            time_s = decoder.seconds(stamp)
            if key_s is None and packet.is_keyframe and decoder.has_stamps:
                # A recording that was cut begins with frames that refer to what is not there: they are not shown.
                key_s = time_s
                found.clear()
            if not packet.is_discard and (key_s is None or time_s >= key_s):
                found.append(time_s)
                if time_s >= last_s:
                    last_s, lasts_s = time_s, decoder.lasts_s(packet)
        end_s = max(last_s + lasts_s, decoder.held_to_s)
    finally:
        decoder.close()
    if not found:
        raise DataError(f"{path} has a header but no frame: copy it again")
    # Nanoseconds: without the last digits of products such as 3 * 0.1.
    return FrameTimes(np.unique(np.round(found, 9)), round(end_s, 9), decoder.fps)
