"""SubRip subtitles: a cue for each interval, for VLC and other players. The format has no room for notes."""

from surgvl.export.base import Format
from surgvl.export.interval_table import IntervalTable
from surgvl.export.vtt import caption, in_order, times


class Srt(Format):
    """Numbered cues in order of time."""

    name = "srt"
    title = "SubRip"
    purpose = "subtitles in VLC"
    suffix = ".srt"
    content_type = "application/x-subrip"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        cues = [f"{number}\n{times(row, ',')}\n{caption(row)}\n" for number, row in enumerate(in_order(table), 1)]
        return "\n".join(cues).encode()
