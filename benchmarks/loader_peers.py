"""How clips are read from video files by PyAV and decord, for `loader.py`.

Shapes: T frames, S pixels.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from surgvl.video.content_area import Image


class Peers:
    """Ways to read T frames from a start time, uint8 [T, S, S, 3]."""

    def __init__(self, paths: dict[str, Path], num_frames: int, fps: float, size_px: int):
        self.paths, self.fps, self.size_px = paths, fps, size_px
        self.offsets_s = np.arange(num_frames) / fps

    def shown(
        self, frames: Iterator[av.VideoFrame], start_s: float, convert: Callable[[av.VideoFrame], Image]
    ) -> Image:
        """The frames of a clip from frames in temporal order; decodes one more than it needs."""
        times_s = start_s + self.offsets_s
        found: list[Image] = []
        held: av.VideoFrame | None = None
        for frame in frames:
            while held is not None and len(found) < len(times_s) and frame.time > times_s[len(found)] + 5e-4:
                found.append(convert(held))
            if len(found) == len(times_s):
                break
            held = frame
        assert held is not None
        return np.stack(found + [convert(held)] * (len(times_s) - len(found)))

    def by_opencv(self, frame: av.VideoFrame) -> Image:
        """RGB at full size, then downscaled."""
        image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return np.asarray(cv2.resize(image, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA), np.uint8)

    def naive(self, video_id: str, start_s: float) -> Image:
        """Decodes from the start of the file."""
        with av.open(str(self.paths[video_id])) as container:
            container.seek(0)
            return self.shown(container.decode(video=0), start_s, self.by_opencv)

    def seeking(self, video_id: str, start_s: float) -> Image:
        """Seeks to the keyframe before the clip, and converts and scales only the frames of the clip."""
        scale = VideoReformatter()

        def convert(frame: av.VideoFrame) -> Image:
            small = scale.reformat(frame, self.size_px, self.size_px, "rgb24", interpolation="AREA")
            return np.asarray(small.to_ndarray(), np.uint8)

        with av.open(str(self.paths[video_id])) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            container.seek(int(start_s / stream.time_base), stream=stream)
            return self.shown(container.decode(stream), start_s, convert)

    def decord(self, video_id: str, start_s: float) -> Image:
        """By frame numbers, which is its interface."""
        import decord

        reader = decord.VideoReader(str(self.paths[video_id]), width=self.size_px, height=self.size_px)
        index = np.floor((start_s + self.offsets_s) * reader.get_avg_fps() + 1e-3)
        return np.asarray(reader.get_batch(np.minimum(index, len(reader) - 1).astype(int)).asnumpy(), np.uint8)
