"""Cut a range out of a recording as an MP4: to the frame, in the recording's own resolution and rhythm.

The cut begins with the frame that is shown at its start, and ends before the first frame that begins at its end or
later. Compressed frames are copied where that gives exactly these frames: the first is a key frame, and none of them
refers to a frame after the cut. Otherwise all are encoded again. A longer copy with an edit list that hides what was
not asked for would always do, but whoever gets the file could bring the hidden frames back.

Sound, titles and other metadata of the recording are left out: they may name people.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.video.decoder import MAX_FPS, FrameDecoder, SampleTimes
from surgvl.video.file import VideoFile
from surgvl.video.frame_folder import IMAGE_SUFFIXES, ImageFolder

CRF = 17
"""Quality of what is encoded again: visually lossless (H.264's scale, 0 to 51)."""
_PRESET = "veryfast"
# What MP4 players expect in MP4, from containers that store it as MP4 does.
_COPIED = ("h264", "hevc", "av1")
_CONTAINERS = (".mp4", ".m4v", ".mov", ".qt", ".mkv")


@dataclass(frozen=True)
class Cut:
    """What a cut holds.

    Attributes:
        start_s: when its first frame begins in the recording.
        num_frames: number of frames.
        is_copy: whether compressed frames were copied.
    """

    start_s: float
    num_frames: int
    is_copy: bool


def cut_video(source: Path | str, start_s: float, end_s: float, out: Path | str) -> Cut:
    """Write a range of a recording as an MP4 file, atomically.

    Args:
        source: a video file, or a folder of numbered images, of which one is shown per second.
        start_s: start, seconds since the first frame.
        end_s: end, exclusive.
        out: the file, ending in .mp4.

    Raises:
        DataError: the range is empty or past the end, or the recording cannot be read, or the file not written.
    """
    source, out = Path(source), Path(out)
    if not 0 <= start_s < end_s < float("inf"):
        raise DataError(f"{source}: a cut must start at 0 s or later and end after that, got {start_s} to {end_s} s")
    if source.is_dir() or source.suffix.lower() in IMAGE_SUFFIXES:
        return _encode_images(ImageFolder(source), start_s, end_s, out)
    decoder = FrameDecoder(source)
    try:
        packets = _copied(decoder, start_s, end_s)
        return _copy(decoder, packets, out) if packets else _encode(decoder, start_s, end_s, out)
    except av.FFmpegError as error:
        raise DataError(
            f"{out} cannot be written ({error.strerror}): check the free space, and the recording"
        ) from error
    finally:
        decoder.close()


# ---- copying


def _copied(decoder: FrameDecoder, start_s: float, end_s: float) -> list[int]:
    """Presentation times, in ticks and coding order, of the compressed frames that are the cut; empty if none are."""
    if decoder.stream.codec_context.name not in _COPIED or decoder.path.suffix.lower() not in _CONTAINERS:
        return []
    found: list[tuple[int, bool]] = []
    decoder.seek(start_s)
    for packet in decoder.packets(start_s):
        if packet.pts is None or packet.dts is None or packet.is_discard:
            return []
        # Nothing that follows in coding order is shown earlier than this.
        if decoder.seconds(packet.dts) + decoder.slack_s >= end_s:
            break
        found.append((packet.pts, packet.is_keyframe))
    inside = [pts for pts, _ in found if decoder.seconds(pts) <= start_s + decoder.slack_s]
    if not inside:
        return []
    first = max(inside)
    at = next(number for number, (pts, _) in enumerate(found) if pts == first)
    wanted = [decoder.seconds(pts) + decoder.slack_s < end_s for pts, _ in found]
    last = max(number for number, is_wanted in enumerate(wanted) if is_wanted)
    if not found[at][1] or not all(wanted[at : last + 1]):
        return []
    # Frames of the group before, which are shown before the key frame but stored after it.
    return [pts for pts, _ in found[at : last + 1] if pts >= first]


def _copy(decoder: FrameDecoder, stamps: list[int], out: Path) -> Cut:
    wanted, first = set(stamps), stamps[0]
    with atomic(out) as temporary, av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream_from_template(decoder.stream)
        stream.metadata.clear()
        decoder.seek(decoder.seconds(first))
        for packet in decoder.packets(decoder.seconds(first)):
            if packet.pts in wanted:
                wanted.remove(packet.pts)
                assert packet.pts is not None
                assert packet.dts is not None
                packet.pts, packet.dts = packet.pts - first, packet.dts - first
                packet.stream = stream
                container.mux(packet)
            if not wanted:
                break
    return Cut(decoder.seconds(first), len(stamps), True)


# ---- encoding


def _shown(decoder: FrameDecoder, start_s: float, end_s: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames shown in a range, with the time at which each begins."""
    before: tuple[float, av.VideoFrame] | None = None
    for time_s, frame in decoder.frames(SampleTimes(start_s, MAX_FPS, None)):
        if time_s + decoder.slack_s >= end_s:
            break
        if time_s > start_s + decoder.slack_s:
            if before is not None:
                yield before
            before = None
            yield time_s, frame
        else:
            before = (time_s, frame)
    if before is not None:
        # The last frame of the file is shown for its duration.
        if before[0] + max(decoder.lasts_s(before[1]), decoder.held_to_s - before[0]) <= start_s:
            raise DataError(f"{decoder.path}: the cut starts at {start_s:.2f} s, past the end: give an earlier start")
        yield before


def _encode(decoder: FrameDecoder, start_s: float, end_s: float, out: Path) -> Cut:
    tick = Fraction(decoder.stream.time_base or Fraction(1, 90_000))
    aspect = decoder.stream.codec_context.sample_aspect_ratio or Fraction(1)
    with atomic(out) as temporary, _Encoder(temporary, decoder.fps, tick, aspect) as encoder:
        begin_s = start_s
        turned: VideoFile | None = None
        try:
            for time_s, frame in _shown(decoder, start_s, end_s):
                begin_s = begin_s if encoder.num_frames else time_s
                if frame.rotation or turned:
                    turned = turned or VideoFile(decoder.path)
                    frame = av.VideoFrame.from_ndarray(turned.picture(frame), format="rgb24")
                encoder.add(frame, round((time_s - begin_s) / tick))
        finally:
            if turned:
                turned.close()
        if not encoder.num_frames:
            raise DataError(f"{decoder.path}: the cut starts at {start_s:.2f} s, past the end: give an earlier start")
    return Cut(begin_s, encoder.num_frames, False)


def _encode_images(folder: ImageFolder, start_s: float, end_s: float, out: Path) -> Cut:
    fps, first = folder.info.fps, int(start_s * folder.info.fps + 1e-6)
    if first >= len(folder.images):
        raise DataError(f"{folder.path}: the cut starts at {start_s:.2f} s, past the end: give an earlier start")
    tick = 1 / Fraction(fps).limit_denominator(1001)
    with atomic(out) as temporary, _Encoder(temporary, fps, tick) as encoder:
        while (number := first + encoder.num_frames) < min(len(folder.images), end_s * fps - 1e-6):
            encoder.add(av.VideoFrame.from_ndarray(folder.near(number / fps), format="rgb24"), encoder.num_frames)
    return Cut(first / fps, encoder.num_frames, False)


class _Encoder:
    """An MP4 file that is being written.

    Args:
        path: the file.
        fps: nominal rate, frames per second.
        tick: unit of the time stamps, seconds.
        aspect: width of a pixel relative to its height.
    """

    def __init__(self, path: Path, fps: float, tick: Fraction, aspect: Fraction = Fraction(1)) -> None:
        self.num_frames, self._tick, self._aspect = 0, tick, aspect
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(CRF), "preset": _PRESET})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.num_frames and error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def add(self, frame: av.VideoFrame, stamp: int) -> None:
        """Encode a frame that is shown from a tick on."""
        context = self._stream.codec_context
        if frame.width % 2 or frame.height % 2:
            # H.264 in the format that all players know has even sides.
            pixels = frame.to_ndarray(format="rgb24")
            padded = cv2.copyMakeBorder(pixels, 0, frame.height % 2, 0, frame.width % 2, cv2.BORDER_REPLICATE)
            frame = av.VideoFrame.from_ndarray(np.asarray(padded, np.uint8), format="rgb24")
        if not self.num_frames:
            context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuv420p"
            context.time_base, context.sample_aspect_ratio = self._tick, self._aspect
            if frame.format.name == "yuv420p":
                context.color_range, context.colorspace = frame.color_range, frame.colorspace
        # A recording may change its resolution on the way.
        frame = frame.reformat(context.width, context.height, "yuv420p")
        frame.pts, frame.time_base, frame.pict_type = stamp, self._tick, 0
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1
