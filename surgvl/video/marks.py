"""Frames that a decoder marks as damaged, counted while videos are read: they are shown all the same.

    with counted() as marks:
        clip = video.read("clip.mp4", ...)
    marks.lines()  # ["clip.mp4: 3 of 250 decoded frames are marked damaged by the decoder ..."]

What is read in a block is counted there, however deep in it; in a thread that the block starts, in blocks of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class Marks:
    """How many frames of each file were decoded, and how many of these are marked; of several reads the sums."""

    def __init__(self) -> None:
        self.decoded: dict[Path, int] = {}
        self.damaged: dict[Path, int] = {}

    def add(self, path: Path, is_damaged: bool) -> None:
        """Count a frame."""
        self.decoded[path] = self.decoded.get(path, 0) + 1
        if is_damaged:
            self.damaged[path] = self.damaged.get(path, 0) + 1

    def fact(self, path: Path) -> str:
        """How many frames of a file are marked, in words; empty where none is."""
        if path not in self.damaged:
            return ""
        return f"{self.damaged[path]} of {self.decoded[path]} decoded frames are marked damaged by the decoder"

    def line(self, path: Path) -> str:
        """What is said of a file; empty where no frame is marked."""
        fact = self.fact(path)
        return f"{path.name}: {fact} and were used as they are: copy the file again" if fact else ""

    def lines(self) -> list[str]:
        """A line for each file with marked frames."""
        return [self.line(path) for path in sorted(self.damaged)]


_CURRENT: ContextVar[Marks | None] = ContextVar("marks", default=None)


def current() -> Marks | None:
    """What counts where this is called; None outside of blocks."""
    return _CURRENT.get()


@contextmanager
def counted(marks: Marks | None = None) -> Iterator[Marks]:
    """A block in which frames are counted.

    Args:
        marks: counts to go on with.
    """
    marks = Marks() if marks is None else marks
    token = _CURRENT.set(marks)
    try:
        yield marks
    finally:
        _CURRENT.reset(token)
