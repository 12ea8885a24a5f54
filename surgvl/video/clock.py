"""Whether the clock of an MPEG stream runs on: recordings that were joined byte by byte bring their own clocks.

A transport or program stream (ISO/IEC 13818-1) has no index, so libav guesses its length from the first and the last
time stamp. Where a recorder stopped and went on, or files were joined by `cat` or `copy /b`, the clock starts anew or
jumps in the middle: half of the pictures would be lost, or twelve seconds last for a day. The whole file is read once,
without decoding, which costs about as much as copying it.
"""

import functools
from pathlib import Path

import av

from surgvl.core.errors import DataError

FORMATS = ("mpegts", "mpeg")
MOST_GAP_S = 60.0
"""A recording may pause for so long; no longer gap between two pictures is believed."""
SLACK_S = 1.0
"""A program stream stamps only some pictures, and what libav makes up for the others goes back by some of them."""


def check_clock(path: Path, options: dict[str, str]) -> None:
    """Refuse a stream whose clock goes back or jumps.

    Args:
        path: an MPEG transport or program stream.
        options: of libav's demuxer.

    Raises:
        DataError: it does; the line says where, and how the file is mended.
    """
    state = path.stat()
    if found := _jump(path, tuple(options.items()), state.st_size, state.st_mtime_ns):
        raise DataError(
            f"{path} is several recordings joined into one: its time stamps jump from {found[0]:.1f} s to "
            f"{found[1]:.1f} s; take the parts apart, or join them anew with ffmpeg's concat demuxer into an MP4"
        )


@functools.lru_cache(maxsize=4096)
def _jump(
    path: Path, options: tuple[tuple[str, str], ...], num_bytes: int, changed_ns: int
) -> tuple[float, float] | None:
    """Seconds before and after the first jump of the decoding times; None where they run on."""
    first: int | None = None
    last: int | None = None
    with av.open(str(path.resolve()), "r", container_options=dict(options), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        if stream is None or stream.time_base is None:
            return None
        tick_s = float(stream.time_base)
        try:
            for packet in container.demux(stream):
                if packet.dts is None or not packet.size:
                    continue
                first = packet.dts if first is None else first
                if last is not None and not -SLACK_S <= (packet.dts - last) * tick_s <= MOST_GAP_S:
                    return (last - first) * tick_s, (packet.dts - first) * tick_s
                last = packet.dts
        except av.FFmpegError:
            # Damage is told by whoever decodes the pictures.
            return None
    return None
