"""Shorter cuts of recordings."""

from pathlib import Path

import av


def cut(source: Path, out: Path, seconds: float, slower: int = 1) -> Path:
    """The first seconds of a recording, not encoded again; played `slower` times as slowly, they last so much longer.

    What is decoded of a recording takes longest, and a slower one has fewer frames a second.
    """
    with av.open(str(source)) as old, av.open(str(out), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None and packet.pts is not None and float(packet.dts * packet.time_base) < seconds:
                packet.dts, packet.pts, packet.duration = (
                    slower * each for each in (packet.dts, packet.pts, packet.duration or 0)
                )
                packet.stream = stream
                new.mux(packet)
    return out
