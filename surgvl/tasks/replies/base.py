"""The contract of a format of replies: it is recognised by the columns of its rows, and reads one row at a time."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """A reply, and what its row tells about the question; what it does not say is empty.

    Attributes:
        text: as the model wrote it; empty if none came.
        video: id, name or path of the video.
        start_s: begin of the segment in seconds of the video; None if unknown.
        end_s: its end.
        question: the question, or a prompt that contains it.
        type: type of the question in a manifest.
        index: number of the question among those of the split, from 0.
        truth: the true answer, or the letter of an option.
        options: as they were shown under the letters from A on.
        seconds: from the question to the reply; None if unknown.
        confidence: how sure the model was, 0 ... 1; None if unknown.
    """

    text: str
    video: str = ""
    start_s: float | None = None
    end_s: float | None = None
    question: str = ""
    type: str = ""
    index: int | None = None
    truth: str = ""
    options: tuple[str, ...] = ()
    seconds: float | None = None
    confidence: float | None = None

    @property
    def named(self) -> str:
        """The row's own names for its question, for messages."""
        words = [] if self.index is None else [f"index {self.index}"]
        words += [self.video] if self.video else []
        words += [] if self.start_s is None else [f"at {self.start_s:g} s"]
        asked = self.question if len(self.question) <= 60 else f"{self.question[:57]}..."
        return ", ".join([*words, *([repr(asked)] if asked else [])])


class ReplyFormat(ABC):
    """A format of replies.

    Attributes:
        name: public name, equal to the file's.
        title: as the toolkit calls itself.
        NEEDS: columns that every row has; a file that has them is of this format.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    NEEDS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, path: Path) -> None:
        """Prepare to read the rows of a file; DataError if what must lie beside it does not fit."""
        self.path = path

    @abstractmethod
    def reply(self, row: Row) -> Reply:
        """Read a row.

        Raises:
            ValueError: a value does not fit; the message continues "row 3 ...".
        """


def text_of(row: Row, *columns: str) -> str:
    """The text of the first of some columns that a row fills; empty if none is.

    Raises:
        ValueError: it is neither a text nor a number.
    """
    for column in columns:
        value = row.get(column)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"has {type(value).__name__} as {column}, which must be a text")
        return f"{value:g}" if isinstance(value, float) else str(value).strip()
    return ""


def number_of(row: Row, *columns: str) -> float | None:
    """The number in the first of some columns that a row fills; None if none is.

    Raises:
        ValueError: it is not a finite number.
    """
    text = text_of(row, *columns)
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ValueError(f"has {text!r} as {' or '.join(columns)}, which must be a number")
    return value


def index_of(row: Row, column: str) -> int | None:
    """The whole number in a column; None if it has none, as where rows are named by words."""
    text = text_of(row, column)
    return int(text) if text.isdecimal() else None
