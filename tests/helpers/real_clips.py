"""Shorter cuts of real recordings."""

from pathlib import Path

import av


def cut(source: Path, out: Path, seconds: float) -> Path:
    """The first seconds of a recording, not encoded again."""
    with av.open(str(source)) as old, av.open(str(out), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None and float(packet.dts * packet.time_base) < seconds:
                packet.stream = stream
                new.mux(packet)
    return out
