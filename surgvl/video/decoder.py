"""Pictures of a video file in the order shown, decoding as little as the samples need (PyAV).

Times are seconds since the stream's first presented frame. A frame is shown from its own time stamp to the next one's,
whatever the nominal rate says, so files of variable rate need nothing special.

What is saved:
- the stream is entered at the last keyframe before the first sample, wherever in the file that is;
- a picture that no sample shows and no other picture refers to (most B-frames) is not decoded;
- nothing after the last sample is decoded, and at most `LOOKAHEAD` compressed pictures are held.

Limits: an MPEG program stream (.mpg, .vob) stamps only some pictures, so after a jump its times can be some frames off;
convert it to MP4 where that matters.

One thread decodes: small pictures gain little from more, and data loaders have a process per core already.
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
"""Packets read ahead to know which picture follows which; H.264 and HEVC reorder over 16 at most."""

MOST_FPS = 1000.0
"""No recording of surgery is faster."""

CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,live_flv,ogg,mxf,dv,nut,ivf,gif,apng,rm,wtv,mjpeg,m4v"
)
"""Containers that hold their own pictures. Playlists (HLS, DASH, concat) do not: one that a client sent could name any
file or address, so they are not opened."""

SUFFIXES = (
    ".mp4", ".mkv", ".mov", ".avi", ".mpg", ".webm", ".mpeg", ".m4v", ".wmv", ".asf", ".ts", ".mts", ".m2ts",
    ".m2t", ".vob", ".m2v", ".flv", ".f4v", ".dv", ".mxf", ".3gp", ".3g2", ".ogv", ".ogg", ".rm", ".rmvb",
    ".wtv", ".divx", ".mod", ".tod", ".qt", ".mpe", ".nut",
)  # fmt: skip
"""Endings that recordings have, lower case: what is looked for in folders. Of one recording, the first is used."""


@dataclass(frozen=True)
class Plan:
    """Which times will be sampled: start_s, start_s + 1 / fps, ...; `count` of them, or all."""

    start_s: float
    fps: float
    count: int | None

    def samples(self, begin_s: float, end_s: float) -> bool:
        """Whether a sample falls into [begin_s, end_s)."""
        number = max(0, math.ceil((begin_s - self.start_s) * self.fps))
        return (self.count is None or number < self.count) and self.start_s + number / self.fps < end_s


class Decoder:
    """An open video stream.

    Args:
        path: a file in one of `CONTAINERS`.

    Attributes:
        fps: the stream's average rate.
        slack_s: how much later than a sample a frame may be stamped and still be the one shown: half a tick, at most
            0.5 ms, for stamps that were rounded to the container's clock (1 ms in Matroska).
        stream: PyAV's stream.

    Raises:
        DataError: the file is absent, empty, not a video, or has no pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} is not there: check the path")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes): copy it again")
        self._open()

    def _open(self) -> None:
        # An absolute path, because libav takes "a:b.mp4" for an address. Old encodings in tags are no reason to refuse.
        limits = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        try:
            self._container = av.open(
                os.path.abspath(self.path), "r", container_options=limits, metadata_errors="replace"
            )
        except av.FFmpegError as error:
            raise DataError(
                f"{self.path} cannot be opened as a video ({error.strerror}): "
                "copy it again if it was cut short, or convert it to MP4"
            ) from error
        if self._container.format.name in FORMATS:
            try:
                check_clock(self.path, limits)
            except DataError:
                self._container.close()
                raise
        # The cover picture of a sound file is a video stream to libav.
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "a header"
            self._container.close()
            raise DataError(f"{self.path} holds {kinds} and no pictures: give a video, or copy it again")
        # Of several tracks the one that players show.
        self.stream: VideoStream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
        self.stream.codec_context.thread_count = 1
        self._tick_s = float(self.stream.time_base or 1)
        self._start = self.stream.start_time or 0
        # AVI stores the order of coding alone; the presentation times that libav makes up for it are out of order.
        self._has_stamps = self._container.format.name != "avi"
        self.slack_s = min(self._tick_s / 2, 5e-4)
        rates = (float(rate) for rate in (self.stream.average_rate, self.stream.guessed_rate) if rate)
        # A raw DV stream declares its clock for its rate.
        self.fps = next((rate for rate in rates if rate <= MOST_FPS), 25.0)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def seconds(self, stamp: int | None) -> float:
        """Turn a time stamp into seconds since the first presented frame."""
        return ((stamp or 0) - self._start) * self._tick_s

    def lasts_s(self, timed: "Packet[VideoStream] | VideoFrame") -> float:
        """How long a frame is shown if none follows."""
        return timed.duration * self._tick_s if timed.duration else 1 / self.fps

    @property
    def declared_s(self) -> float | None:
        """The length of the pictures that the container declares; None where it only declares that of everything."""
        if self.stream.duration:
            return self.stream.duration * self._tick_s
        if self._container.duration and len(self._container.streams) == 1:
            # Where libav has no length for the stream, the header's counts from time 0.
            return self._container.duration / av.time_base - max(0.0, self._start * self._tick_s)
        return None

    @functools.cached_property
    def held_to_s(self) -> float:
        """Until when the last picture is held by empty chunks of an AVI, for dropped frames; 0 where there are none."""
        if self._container.format.name != "avi":
            return 0.0
        return avi_chunks(self.path, self.stream.index) * self._tick_s

    def last_packet_s(self) -> float:
        """The end of the last picture, read from compressed packets near the end of the file without decoding."""
        for at_s in ((self._container.duration or 0) / av.time_base, 0.0):
            self._seek(at_s)
            end_s = 0.0
            with contextlib.suppress(DataError):
                for packet in self._packets():
                    stamp = packet.dts if packet.pts is None else packet.pts
                    end_s = max(end_s, self.seconds(stamp) + self.lasts_s(packet))
            if end_s:
                return end_s
        return 0.0

    def frames(self, plan: Plan) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time, frame) in the order shown, beginning at or before the frame shown at the plan's first sample.

        Raises:
            DataError: there is no frame at all, or, after the good frames, the file is damaged.
        """
        # Containers look for keyframes by decoding time or position, so the one found can lie after the wanted time.
        at_s, back_s = plan.start_s, 1.0
        self._seek(at_s)
        while True:
            frames = self._decoded(plan)
            first = next(frames, None)
            if at_s < 0 or (first is not None and first[0] <= plan.start_s + self.slack_s):
                break
            if at_s == 0:
                self._reopen()
                at_s = -1.0
            else:
                at_s = max(0.0, plan.start_s - back_s)
                back_s *= 4
                self._seek(at_s)
        if first is None:
            raise DataError(f"{self.path} has a header and no picture that can be decoded: copy it again")
        yield first
        yield from frames

    def _seek(self, at_s: float) -> None:
        try:
            self._container.seek(self._start + math.floor(at_s / self._tick_s), stream=self.stream)
        except av.FFmpegError:
            self._reopen()  # there is no way to jump in this file: read it from its beginning

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _decoded(self, plan: Plan) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time, frame) from the next keyframe on, less what is neither sampled nor referred to."""
        context = self.stream.codec_context
        fed: deque[int] = deque([0], maxlen=LOOKAHEAD)
        try:
            for packet, wanted in self._planned(plan):
                fed.append(packet.dts or 0)
                context.skip_frame = "DEFAULT" if wanted else "NONREF"
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    if not _holds_no_picture(packet):
                        raise
                    frames = []
                for frame in frames:
                    # Pictures come out in the order shown, each when that many more have gone in.
                    stamp = frame.pts if self._has_stamps else fed[max(0, len(fed) - 1 - context.reorder_depth)]
                    yield self.seconds(stamp), frame
            # Not after damage: of the last pictures then some may be missing between others.
            rest = context.decode(None)
        except av.FFmpegError as error:
            raise self._damaged(error) from error
        for frame, coded in zip(rest, list(fed)[-len(rest) :], strict=False):
            yield self.seconds(frame.pts if self._has_stamps else coded), frame

    def _planned(self, plan: Plan) -> Iterator[tuple["Packet[VideoStream]", bool]]:
        """Yield (packet, whether a sample may show its picture) in coded order."""
        queue: deque[Packet[VideoStream]] = deque()
        known: deque[int] = deque(maxlen=3 * LOOKAHEAD)
        margin_s = 2 * self.slack_s + 1e-6

        def may_show(stamp: int | None) -> bool:
            after = min((other for other in known if stamp is not None and other > stamp), default=None)
            return after is None or plan.samples(self.seconds(stamp) - margin_s, self.seconds(after) + margin_s)

        failure: DataError | None = None
        try:
            for packet in self._packets(plan.start_s):
                queue.append(packet)
                if packet.pts is not None:
                    known.append(packet.pts)
                if len(queue) > LOOKAHEAD:
                    packet = queue.popleft()
                    yield packet, not self._has_stamps or may_show(packet.pts)
        except DataError as error:
            failure = error
        for packet in queue:
            yield packet, True
        if failure:
            raise failure

    def _packets(self, start_s: float = math.inf) -> Iterator["Packet[VideoStream]"]:
        """Yield compressed pictures.

        Raises:
            DataError: the demuxer stumbles, hands out half a picture, or ends much before the declared end, unless
                start_s is beyond that.
        """
        end_s = math.inf
        try:
            for packet in self._container.demux(self.stream):
                begin_s = self.seconds(packet.dts if packet.pts is None else packet.pts)
                if packet.is_corrupt:
                    raise DataError(f"{self.path} is cut short or damaged at {begin_s:.2f} s: copy it again")
                if packet.size:
                    end_s = begin_s + self.lasts_s(packet)
                    yield packet
        except av.FFmpegError as error:
            raise self._damaged(error) from error
        declared_s = self.declared_s or 0.0
        # One second of grace for headers that round or count the sound in.
        if declared_s > max(start_s, end_s + 1 + 2 / self.fps, self.held_to_s + 1):
            raise DataError(f"{self.path} is cut short at {end_s:.2f} s of {declared_s:.2f} s: copy it again")

    def _damaged(self, error: av.FFmpegError) -> DataError:
        return DataError(f"{self.path} is cut short or damaged ({error.strerror}): copy it again, or convert it to MP4")


def _holds_no_picture(packet: "Packet[VideoStream]") -> bool:
    """Whether a packet stands in for a picture that comes later: XviD begins with one byte for each B-frame of delay.

    Its decoder refuses that as damaged until it knows the encoder. A picture of MPEG-4 begins with a start code.
    """
    return packet.stream.codec_context.name == "mpeg4" and b"\0\0\1\xb6" not in bytes(packet)
