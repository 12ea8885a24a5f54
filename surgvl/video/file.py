"""One video file: its header, and the frames shown at given times, upright and scaled.

Only sampled frames are converted to RGB; conversion and scaling are one pass of swscale.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import VideoReformatter

from surgvl.core.errors import DataError
from surgvl.video.content_area import Box, Image
from surgvl.video.decoder import FrameDecoder, SampleTimes
from surgvl.video.geometry import Geometry
from surgvl.video.marks import current


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video, from its header.

    Attributes:
        path: the file or folder.
        duration_s: from the start of the first frame to the end of the last, by the container or else by its packets.
        fps: average rate, frames per second.
        width_px: width as displayed, that is after rotation.
        height_px: height as displayed.
        rotation_deg: counter-clockwise rotation of the stored picture for display: 0, 90, 180 or 270.
        num_frames: according to the container; None if it does not say.
        codec: such as `h264`; for a folder, the images' suffix.
    """

    path: Path
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    rotation_deg: int
    num_frames: int | None
    codec: str


class VideoFile:
    """An open video file.

    Args:
        path: the file.

    Raises:
        DataError: the file is absent, empty, not a video, or has no pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decoder = FrameDecoder(path)
        self._reformatter = VideoReformatter()
        self._orientation: tuple[bool, bool, bool] | None = None

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    @functools.cached_property
    def info(self) -> VideoInfo:
        """Facts from the header and the first frame, which is decoded.

        Raises:
            DataError: the file has no frame.
        """
        _, frame = next(self._decoder.frames(SampleTimes(0.0, 1.0, 1)))
        height, width = self._shape(frame)
        declared_s, stream = self._decoder.declared_s, self._decoder.stream
        return VideoInfo(
            path=self.path,
            duration_s=self._decoder.last_packet_s() if declared_s is None else declared_s,
            fps=self._decoder.fps,
            width_px=width,
            height_px=height,
            rotation_deg=round(frame.rotation) % 360,
            num_frames=stream.frames or None,
            codec=stream.codec_context.name,
        )

    def samples(
        self, start_s: float, fps: float, count: int | None, hold: bool, geometry: Geometry, crop: Box | None
    ) -> Iterator[tuple[float, Image]]:
        """Yield the frames shown at start_s, start_s + 1 / fps, ..., until `count` or the end of the video.

        Args:
            start_s: time of the first sample, at least 0.
            fps: samples per second.
            count: number of samples; None for all up to the end.
            hold: whether the last frame is repeated after the end, up to `count`.
            geometry: how the picture, or the crop, becomes a frame.
            crop: part of the displayed picture; None for all.

        Yields:
            (time in seconds, uint8 [S, S, 3] RGB).

        Raises:
            DataError: start_s is past the end; or, after the good frames, the file is damaged or truncated.
        """
        number, time_s = 0, start_s
        for frame, until_s in self._intervals(SampleTimes(start_s, fps, count), hold):
            image: Image | None = None
            while time_s + self._decoder.slack_s < until_s:
                image = self._pixels(frame, geometry, crop) if image is None else image.copy()
                yield time_s, image
                number += 1
                if number == count:
                    return
                time_s = start_s + number / fps
        if number == 0:
            end_s = self.info.duration_s
            raise DataError(f"{self.path} ends at {end_s:.2f} s: start_s {start_s:.2f} is past the end")

    def near(self, time_s: float) -> Image:
        """Decode the keyframe at or before a time, the cheapest frame there: uint8 [H, W, 3] as displayed."""
        _, frame = next(self._decoder.frames(SampleTimes(time_s, 1.0, 1)))
        return self.picture(frame)

    def _intervals(self, times: SampleTimes, hold: bool) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yield (frame, time at which the next one replaces it) from the first sample on."""
        held: av.VideoFrame | None = None
        held_s, end_s = 0.0, 0.0
        failure: DataError | None = None
        marks = current()
        try:
            for time_s, frame in self._decoder.frames(times):
                if marks is not None:
                    marks.add(self.path, frame.is_corrupt)
                if held is not None:
                    yield held, time_s
                held, held_s = frame, time_s
        except DataError as error:
            failure = error
        if held is not None:
            end_s = held_s + self._decoder.lasts_s(held)
            end_s = end_s if failure else max(end_s, self._decoder.held_to_s)
        if held is not None:
            stays = hold and failure is None and times.start_s + self._decoder.slack_s < end_s
            yield held, math.inf if stays else end_s
        if failure:
            raise failure

    def _pixels(self, frame: av.VideoFrame, geometry: Geometry, crop: Box | None) -> Image:
        size_px = geometry.size_px
        # OpenCV upscales faster than swscale, equally bilinearly.
        if crop is not None or not geometry.is_plain or size_px > max(frame.width, frame.height):
            return geometry.apply(self.picture(frame), crop, self.path)
        # swscale's AREA averages the source pixels that a target pixel covers.
        scaled = self._reformatter.reformat(frame, size_px, size_px, "rgb24", interpolation="AREA", threads=1)
        return self._upright(frame, scaled)

    def _shape(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Height and width as displayed."""
        return (frame.width, frame.height) if self._orient(frame)[0] else (frame.height, frame.width)

    def picture(self, frame: av.VideoFrame) -> Image:
        """A decoded frame of this file as displayed, uint8 [H, W, 3]."""
        return self._upright(frame, self._reformatter.reformat(frame, format="rgb24", threads=1))

    def _upright(self, frame: av.VideoFrame, converted: av.VideoFrame) -> Image:
        transposed, mirrored, upside_down = self._orient(frame)
        picture = np.asarray(converted.to_ndarray(), np.uint8)
        picture = picture.transpose(1, 0, 2) if transposed else picture
        picture = picture[:, ::-1] if mirrored else picture
        return np.ascontiguousarray(picture[::-1] if upside_down else picture)

    def _orient(self, frame: av.VideoFrame) -> tuple[bool, bool, bool]:
        """The display matrix as (transpose, then flip left-right, then flip top-bottom); read once."""
        if self._orientation is None:
            self._orientation = (False, False, False)
            with contextlib.suppress(KeyError):
                # ISO/IEC 14496-12, 6.2.2: x' = a x + c y, y' = b x + d y, in fixed point.
                matrix = cast("Mapping[str, Buffer]", frame.side_data)["DISPLAYMATRIX"]
                a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
                turned = abs(b) + abs(c) > abs(a) + abs(d)
                self._orientation = (turned, c < 0, b < 0) if turned else (False, a < 0, d < 0)
        return self._orientation
