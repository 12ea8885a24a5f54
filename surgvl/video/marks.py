"""Count the frames that the decoder marks as damaged while videos are read; such frames are still used.

    with counted() as marks:
        clip = video.read("clip.mp4", ...)
    marks.lines()  # ["clip.mp4: 3 of 250 decoded frames are marked damaged by the decoder ..."]

Everything read inside the block is counted, at any depth of calls; threads started in the block need their own block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class Marks:
    """By file, the number of decoded frames and of those marked as damaged, summed over all reads."""

    def __init__(self) -> None:
        self.decoded: dict[Path, int] = {}
        self.damaged: dict[Path, int] = {}

    def add(self, path: Path, is_damaged: bool) -> None:
        """Count a frame."""
        self.decoded[path] = self.decoded.get(path, 0) + 1
        if is_damaged:
            self.damaged[path] = self.damaged.get(path, 0) + 1

    def fact(self, path: Path) -> str:
        """The number of marked frames of a file, in words; empty if there is none."""
        if path not in self.damaged:
            return ""
        return f"{self.damaged[path]} of {self.decoded[path]} decoded frames are marked damaged by the decoder"

    def line(self, path: Path) -> str:
        """The warning about a file; empty if no frame is marked."""
        fact = self.fact(path)
        return f"{path.name}: {fact} and were used nevertheless: copy the file again" if fact else ""

    def lines(self) -> list[str]:
        """One warning for each file with marked frames."""
        return [self.line(path) for path in sorted(self.damaged)]


_CURRENT: ContextVar[Marks | None] = ContextVar("marks", default=None)


def current() -> Marks | None:
    """The counts of the innermost block; None outside of blocks."""
    return _CURRENT.get()


@contextmanager
def counted(marks: Marks | None = None) -> Iterator[Marks]:
    """Count frames inside a `with` block.

    Args:
        marks: counts to add to; new ones by default.
    """
    marks = Marks() if marks is None else marks
    token = _CURRENT.set(marks)
    try:
        yield marks
    finally:
        _CURRENT.reset(token)
