"""Tables of whole numbers without a header: a frame number, and whether each of several classes is present."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import DataError
from surgvl.data.formats.text_files import MAX_COUNT, read_text
from surgvl.data.spans import Span, join_runs


def read_number_table(path: Path, widths: Collection[int]) -> Any:
    """Read comma-separated whole numbers, a row for each labelled frame.

    Args:
        path: the file; an ASCII file of some 100,000 rows is read in well under a second.
        widths: allowed numbers of columns, the frame number included.

    Returns:
        int64 [N, C], with strictly increasing frame numbers in the first column.

    Raises:
        DataError: a value that is not a whole number, a different number of columns, or frames that are negative, too
            large or do not increase.
    """
    try:
        table = np.loadtxt(io.StringIO(read_text(path)), dtype=np.int64, delimiter=",", ndmin=2)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path} is not a table of whole numbers separated by commas ({error}): correct the row, counted there "
            "from 0 or 1"
        ) from error
    if table.shape[1] not in widths:
        allowed = " or ".join(map(str, sorted(widths)))
        raise DataError(f"{path} has {table.shape[1]} columns; expected {allowed}, the first one the frame: correct it")
    frames = table[:, 0]
    wrong = np.flatnonzero((frames < 0) | (frames > MAX_COUNT) | (np.diff(frames, prepend=-1) <= 0))
    if len(wrong):
        at = int(wrong[0])
        before = f" after frame {frames[at - 1]}" if at else ""
        raise DataError(f"{path}, row {at + 1}: frame {frames[at]}{before}; frames must increase from 0: sort the rows")
    return table


def presence_spans(path: Path, numbers: Any, present: Any, names: Sequence[str], fps: float) -> list[Span]:
    """Spans during which each class is present, sorted by time.

    Args:
        path: for messages.
        numbers: int64 [N], frame numbers.
        present: int64 [N, C] of 0 and 1.
        names: [C] class names.
        fps: frame numbers per second.

    Raises:
        DataError: a value other than 0 and 1.
    """
    wrong = np.argwhere((present != 0) & (present != 1))
    if len(wrong):
        row, column = wrong[0].tolist()
        fact = f"{names[column]} is {present[row, column]}; it must be 0 or 1"
        raise DataError(f"{path}, row {row + 1}: {fact}: correct the row")
    spans: list[Span] = []
    for column, name in enumerate(names):
        if present[:, column].any():
            labels = np.where(present[:, column] == 1, name, "").tolist()
            spans += join_runs(numbers.tolist(), labels, 1 / fps)
    return sorted(spans)
