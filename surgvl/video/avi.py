"""Number of frames in an AVI file, dropped ones included: its index has an empty chunk for each, libav reports none.

For a dropped frame, players repeat the one before. Layout: Microsoft's AVI RIFF file reference; chunks are padded to
even sizes.
"""

import struct
from pathlib import Path

ENTRY = 16
"""Bytes of an index entry: chunk id, flags, offset, size."""


def avi_chunks(path: Path, stream: int) -> int:
    """Count the chunks of a stream in the index at the end of a file; 0 without a complete one (truncated file).

    Args:
        path: an AVI file.
        stream: index of the stream, from 0.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 12
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"idx1" and at + 8 + length <= size:
                index = file.read(length)
                named = [index[here : here + 3] for here in range(0, len(index) - ENTRY + 1, ENTRY)]
                return named.count(b"%02dd" % stream)
            at += 8 + length + length % 2
    return 0
