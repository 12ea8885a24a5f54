"""WebVTT (W3C): a cue for each interval, for any player in a browser."""

import html

from surgvl.core.class_names import class_name
from surgvl.export.base import Format
from surgvl.export.interval_table import Interval, IntervalTable
from surgvl.export.milliseconds import clock_ms, milliseconds


class Vtt(Format):
    """Cues in order of time; a NOTE says how they were made."""

    name = "vtt"
    title = "WebVTT"
    purpose = "captions in a browser"
    suffix = ".vtt"
    content_type = "text/vtt"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        note = "\n".join(table.origin.lines()).replace("-->", "- ->")
        cues = [
            f"{number}\n{times(row, '.')}\n{html.escape(caption(row), quote=False)}"
            for number, row in enumerate(in_order(table), 1)
        ]
        return ("\n\n".join(["WEBVTT", f"NOTE\n{note}", *cues]) + "\n").encode()


def in_order(table: IntervalTable) -> list[Interval]:
    """The intervals of all tracks by the time at which they begin."""
    return sorted(table, key=lambda row: (row.start_s, row.end_s))


def times(row: Interval, point: str) -> str:
    """From when to when a cue is shown."""
    return " --> ".join(clock_ms(milliseconds(time_s), point) for time_s in (row.start_s, row.end_s))


def caption(row: Interval) -> str:
    """The text of a cue."""
    return f"{row.track}: {class_name(row.track, row.name)} ({row.confidence:.2f})"
