"""How far work on several recordings is, and whether it should stop."""

from collections.abc import Callable, Sequence

from surgvl.archive.recording_table import FileRow
from surgvl.archive.records import Progress

Tick = Callable[[Progress], object]
Stop = Callable[[], bool]


class Stopped(Exception):
    """The work was told to stop; what is done stays."""


class Meter:
    """Seconds of video that are done.

    Args:
        rows: the recordings, in order.
        tick: told after every step.
        should_stop: asked before every step.
    """

    def __init__(self, rows: Sequence[FileRow], tick: Tick, should_stop: Stop) -> None:
        self._rows, self._tick, self._should_stop = rows, tick, should_stop
        self._total_s = sum(row.duration_s for row in rows)
        self._number, self._before_s, self._read_s = 0, 0.0, 0.0

    def check(self) -> None:
        """Stop here if that is wanted.

        Raises:
            Stopped: it is.
        """
        if self._should_stop():
            raise Stopped

    def read(self, read_s: float) -> None:
        """Some more seconds of the present recording are read."""
        self.check()
        self._read_s = min(self._read_s + read_s, self._rows[self._number].duration_s)
        self.tell(self._rows[self._number].id)

    def next(self) -> None:
        """The present recording is done."""
        row = self._rows[self._number]
        self._before_s, self._read_s, self._number = self._before_s + row.duration_s, 0.0, self._number + 1
        self.tell(row.id)

    def tell(self, id: str) -> None:
        """Say how far all are; a recording has changed."""
        done_s = self._before_s + self._read_s
        self._tick(Progress(id, done_s, self._total_s, self._number, len(self._rows)))
