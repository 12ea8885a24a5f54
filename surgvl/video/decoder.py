"""Decode the frames of a video file in display order, and only those that the samples need (PyAV).

Times are seconds since the first displayed frame of the stream. A frame is shown from its own time stamp to the next
one's, regardless of the nominal rate, so variable frame rates need no special treatment.

To save work:
- decoding starts at the last keyframe before the first sample, wherever in the file that is;
- a frame that no sample shows and no other frame refers to (most B-frames) is not decoded;
- nothing after the last sample is decoded, and at most `LOOKAHEAD` compressed frames are held.

Limits: an MPEG program stream (.mpg, .vob) stamps only some frames, so its times can be a few frames off after a seek;
convert it to MP4 where that matters.

Decoding uses one thread: small frames gain little from more, and data loaders already use a process per core.
"""

import contextlib
import functools
import math
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av import Packet, VideoFrame
from av.stream import Disposition
from av.video.stream import VideoStream

from surgvl.core.errors import DataError
from surgvl.video.avi import avi_chunks
from surgvl.video.clock import FORMATS, check_clock

LOOKAHEAD = 24
"""Packets read ahead to know which frame follows which; H.264 and HEVC reorder at most 16."""

MAX_FPS = 1000.0
"""Above any recording of surgery; larger values in a header are not frame rates."""

CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,live_flv,ogg,mxf,dv,nut,ivf,gif,apng,rm,wtv,mjpeg,m4v"
)
"""Containers that hold their own frames. Playlists (HLS, DASH, concat) are not opened: one that a client uploads could
name any file or address."""

VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".mov", ".avi", ".mpg", ".webm", ".mpeg", ".m4v", ".wmv", ".asf", ".ts", ".mts", ".m2ts",
    ".m2t", ".vob", ".m2v", ".flv", ".f4v", ".dv", ".mxf", ".3gp", ".3g2", ".ogv", ".ogg", ".rm", ".rmvb",
    ".wtv", ".divx", ".mod", ".tod", ".qt", ".mpe", ".nut",
)  # fmt: skip
"""Suffixes of recordings, lower case, that folders are searched for; of one recording in several, the first is used."""


@dataclass(frozen=True)
class SampleTimes:
    """The times to sample: start_s, start_s + 1 / fps, ...; `count` of them, or all."""

    start_s: float
    fps: float
    count: int | None

    def any_between(self, begin_s: float, end_s: float) -> bool:
        """Whether a sample time lies in [begin_s, end_s)."""
        number = max(0, math.ceil((begin_s - self.start_s) * self.fps))
        return (self.count is None or number < self.count) and self.start_s + number / self.fps < end_s


class FrameDecoder:
    """An open video stream.

    Args:
        path: a file in one of `CONTAINERS`.

    Attributes:
        fps: the stream's average rate.
        has_stamps: whether the container stores presentation times; AVI does not.
        slack_s: a frame stamped this much later than a sample still counts as shown then: half a tick, at most 0.5 ms,
            for time stamps rounded to the container's clock (1 ms in Matroska).
        stream: PyAV's stream.

    Raises:
        DataError: the file is absent, empty, not a video, or has no frames.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} does not exist: check the path")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes): copy it again")
        self._open()

    def _open(self) -> None:
        # An absolute path, because libav takes "a:b.mp4" for a URL. Tags in legacy encodings are no reason to refuse.
        limits = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        try:
            self._container = av.open(
                os.path.abspath(self.path), "r", container_options=limits, metadata_errors="replace"
            )
        except av.FFmpegError as error:
            raise DataError(
                f"{self.path} cannot be opened as a video ({error.strerror}): "
                "copy it again if it is truncated, or convert it to MP4"
            ) from error
        if self._container.format.name in FORMATS:
            try:
                check_clock(self.path, limits)
            except DataError:
                self._container.close()
                raise
        # To libav, the cover image of an audio file is a video stream.
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "a header"
            self._container.close()
            raise DataError(f"{self.path} holds {kinds} but no video: give a video, or copy it again")
        # Of several tracks, the default one, which players show.
        self.stream: VideoStream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
        self.stream.codec_context.thread_count = 1
        self._tick_s = float(self.stream.time_base or 1)
        self._start = self.stream.start_time or 0
        # The presentation times that libav derives from an AVI's coding order are out of order.
        self.has_stamps = self._container.format.name != "avi"
        self.slack_s = min(self._tick_s / 2, 5e-4)
        rates = (float(rate) for rate in (self.stream.average_rate, self.stream.guessed_rate) if rate)
        # A raw DV stream declares its clock as its rate.
        self.fps = next((rate for rate in rates if rate <= MAX_FPS), 25.0)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def seconds(self, timestamp: int | None) -> float:
        """Convert a time stamp to seconds since the first displayed frame."""
        return ((timestamp or 0) - self._start) * self._tick_s

    def lasts_s(self, timed: "Packet[VideoStream] | VideoFrame") -> float:
        """How long a frame is shown if it is the last."""
        return timed.duration * self._tick_s if timed.duration else 1 / self.fps

    @property
    def declared_s(self) -> float | None:
        """Declared duration of the video stream; None if the container only declares that of all streams together."""
        if self.stream.duration:
            return self.stream.duration * self._tick_s
        if self._container.duration and len(self._container.streams) == 1:
            # Where libav has no duration for the stream, that of the header counts from time 0.
            return self._container.duration / av.time_base - max(0.0, self._start * self._tick_s)
        return None

    @functools.cached_property
    def held_to_s(self) -> float:
        """Until when empty chunks of an AVI (dropped frames) extend the last frame; 0 for other containers."""
        if self._container.format.name != "avi":
            return 0.0
        return avi_chunks(self.path, self.stream.index) * self._tick_s

    def last_packet_s(self) -> float:
        """End of the last frame, from the compressed packets near the end of the file, without decoding."""
        for at_s in ((self._container.duration or 0) / av.time_base, 0.0):
            self.seek(at_s)
            end_s = 0.0
            with contextlib.suppress(DataError):
                for packet in self.packets():
                    timestamp = packet.dts if packet.pts is None else packet.pts
                    end_s = max(end_s, self.seconds(timestamp) + self.lasts_s(packet))
            if end_s:
                return end_s
        return 0.0

    def frames(self, times: SampleTimes) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time, frame) in display order, beginning at or before the frame shown at the first sample.

        Raises:
            DataError: the file has no frame; or, after the good frames, it is damaged.
        """
        # Containers search keyframes by decoding time or position, so the one found may lie after the wanted time.
        at_s, back_s = times.start_s, 1.0
        self.seek(at_s)
        while True:
            frames = self._decoded(times)
            first = next(frames, None)
            if at_s < 0 or (first is not None and first[0] <= times.start_s + self.slack_s):
                break
            if at_s == 0:
                self._reopen()
                at_s = -1.0
            else:
                at_s = max(0.0, times.start_s - back_s)
                back_s *= 4
                self.seek(at_s)
        if first is None:
            raise DataError(f"{self.path} has a header but no frame that can be decoded: copy it again")
        yield first
        yield from frames

    def seek(self, at_s: float) -> None:
        """Go on at the last keyframe before a time, as far as the container knows; else at the beginning."""
        try:
            self._container.seek(self._start + math.floor(at_s / self._tick_s), stream=self.stream)
        except av.FFmpegError:
            self._reopen()  # this file cannot seek: read it from its beginning

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _decoded(self, times: SampleTimes) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time, frame) from the next keyframe on, except frames that are neither sampled nor referred to."""
        context = self.stream.codec_context
        fed: deque[int] = deque([0], maxlen=LOOKAHEAD)
        try:
            for packet, wanted in self._planned(times):
                fed.append(packet.dts or 0)
                context.skip_frame = "DEFAULT" if wanted else "NONREF"
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    if not _is_placeholder(packet):
                        raise
                    frames = []
                for frame in frames:
                    # Frames come out in display order, each after that many more packets have gone in.
                    timestamp = frame.pts if self.has_stamps else fed[max(0, len(fed) - 1 - context.reorder_depth)]
                    yield self.seconds(timestamp), frame
            # Not after damage, where some of the last frames may be missing between others.
            rest = context.decode(None)
        except av.FFmpegError as error:
            raise self._damaged(error) from error
        for frame, coded in zip(rest, list(fed)[-len(rest) :], strict=False):
            yield self.seconds(frame.pts if self.has_stamps else coded), frame

    def _planned(self, times: SampleTimes) -> Iterator[tuple["Packet[VideoStream]", bool]]:
        """Yield (packet, whether a sample may show its frame) in coding order."""
        queue: deque[Packet[VideoStream]] = deque()
        known: deque[int] = deque(maxlen=3 * LOOKAHEAD)
        margin_s = 2 * self.slack_s + 1e-6

        def may_show(timestamp: int | None) -> bool:
            after = min((other for other in known if timestamp is not None and other > timestamp), default=None)
            return after is None or times.any_between(
                self.seconds(timestamp) - margin_s, self.seconds(after) + margin_s
            )

        failure: DataError | None = None
        try:
            for packet in self.packets(times.start_s):
                queue.append(packet)
                if packet.pts is not None:
                    known.append(packet.pts)
                if len(queue) > LOOKAHEAD:
                    packet = queue.popleft()
                    yield packet, not self.has_stamps or may_show(packet.pts)
        except DataError as error:
            failure = error
        for packet in queue:
            yield packet, True
        if failure:
            raise failure

    def packets(self, start_s: float = math.inf) -> Iterator["Packet[VideoStream]"]:
        """Yield compressed frames.

        Raises:
            DataError: the demuxer fails, returns half a frame, or ends well before the declared end, unless start_s is
                past that end.
        """
        end_s = math.inf
        try:
            for packet in self._container.demux(self.stream):
                begin_s = self.seconds(packet.dts if packet.pts is None else packet.pts)
                if packet.is_corrupt:
                    raise DataError(f"{self.path} is truncated or damaged at {begin_s:.2f} s: copy it again")
                if packet.size:
                    end_s = begin_s + self.lasts_s(packet)
                    yield packet
        except av.FFmpegError as error:
            raise self._damaged(error) from error
        declared_s = self.declared_s or 0.0
        # One second of tolerance for headers that round or include the audio.
        if declared_s > max(start_s, end_s + 1 + 2 / self.fps, self.held_to_s + 1):
            raise DataError(f"{self.path} is truncated at {end_s:.2f} s of {declared_s:.2f} s: copy it again")

    def _damaged(self, error: av.FFmpegError) -> DataError:
        return DataError(f"{self.path} is truncated or damaged ({error.strerror}): copy it again, or convert it to MP4")


def _is_placeholder(packet: "Packet[VideoStream]") -> bool:
    """Whether a packet is a placeholder for a later frame: XviD starts with one byte for each B-frame of delay.

    The decoder rejects it as damaged until it knows the encoder. An MPEG-4 frame begins with a start code.
    """
    return packet.stream.codec_context.name == "mpeg4" and b"\0\0\1\xb6" not in bytes(packet)
