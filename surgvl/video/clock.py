"""Detect jumps in the clock of an MPEG stream: recordings that are concatenated byte by byte each have their own clock.

A transport or program stream (ISO/IEC 13818-1) has no index, so libav estimates its duration from the first and the
last time stamp. Where a recorder was paused, or files were joined with `cat` or `copy /b`, the clock restarts or jumps:
half of the frames would be lost, or twelve seconds would last for a day. The whole file is read once without decoding,
which costs about as much as copying it.
"""

import functools
from pathlib import Path

import av

from surgvl.core.errors import DataError

FORMATS = ("mpegts", "mpeg")
MAX_GAP_S = 60.0
"""Longest gap between two frames that counts as a pause of one recording."""
SLACK_S = 1.0
"""A program stream stamps only some frames; those that libav interpolates can go back by a few frames."""


def check_clock(path: Path, options: dict[str, str]) -> None:
    """Refuse a stream whose clock goes backwards or jumps.

    Args:
        path: an MPEG transport or program stream.
        options: options of libav's demuxer.

    Raises:
        DataError: it does; the message says where, and how to repair the file.
    """
    state = path.stat()
    if found := _jump(path, tuple(options.items()), state.st_size, state.st_mtime_ns):
        raise DataError(
            f"{path} is several recordings joined into one: its time stamps jump from {found[0]:.1f} s to "
            f"{found[1]:.1f} s; split it, or join the parts into an MP4 with ffmpeg's concat demuxer"
        )


@functools.lru_cache(maxsize=4096)
def _jump(
    path: Path, options: tuple[tuple[str, str], ...], num_bytes: int, changed_ns: int
) -> tuple[float, float] | None:
    """Decoding times in seconds before and after the first jump; None if there is no jump."""
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
                if last is not None and not -SLACK_S <= (packet.dts - last) * tick_s <= MAX_GAP_S:
                    return (last - first) * tick_s, (packet.dts - first) * tick_s
                last = packet.dts
        except av.FFmpegError:
            # Damage is reported when the frames are decoded.
            return None
    return None
