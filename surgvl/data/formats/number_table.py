"""Tables of whole numbers without a header, whose first column is a frame number, and the runs of their labels."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.text_files import MAX_COUNT, read_text
from surgvl.data.spans import Span, Track, join_runs


def read_number_table(path: Path, widths: Collection[int]) -> Any:
    """Read comma-separated whole numbers, a row for each labelled frame.

    Args:
        path: the file; an ASCII file of some 100,000 rows is read in well under a second.
        widths: allowed numbers of columns, the frame number included.

    Returns:
        int64 [N, C], with strictly increasing frame numbers in the first column.

    Raises:
        DataError: a value that is not a whole number, another number of columns, or frames that are negative, too
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


def usual_step(numbers: Any) -> int:
    """The most usual distance of consecutive numbers, 1 if there is only one number."""
    steps, counts = np.unique(np.diff(numbers), return_counts=True)
    return int(steps[counts.argmax()]) if len(steps) else 1


def class_track(path: Path, numbers: Any, ids: Any, names: Sequence[str], fps: float, stride: int = 1) -> Track:
    """One class for each row as a track.

    Args:
        path: for messages.
        numbers: int64 [N], frame numbers.
        ids: int64 [N], positions in `names`.
        names: class names in the order of the ids.
        fps: frame numbers per second.
        stride: distance of the rows; each stands for that many frames.

    Raises:
        DataError: an id without a name.
    """
    wrong = np.flatnonzero((ids < 0) | (ids >= len(names)))
    if len(wrong):
        at = int(wrong[0])
        raise DataError(f"{path}, row {at + 1}: class is {ids[at]}; allowed are 0 to {len(names) - 1}: correct the row")
    spans = join_runs(numbers.tolist(), [names[number] for number in ids.tolist()], 1 / fps, stride)
    return Track(spans, (int(numbers[-1]) + stride) / fps, gap_notes(path, numbers, stride))


def presence_track(path: Path, numbers: Any, present: Any, names: Sequence[str], fps: float, stride: int = 1) -> Track:
    """Presence of each class as a track.

    Args:
        path: for messages.
        numbers: int64 [N], frame numbers.
        present: int64 [N, C] of 0 and 1.
        names: [C] class names.
        fps: frame numbers per second.
        stride: distance of the rows.

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
            spans += join_runs(numbers.tolist(), labels, 1 / fps, stride)
    return Track(sorted(spans), (int(numbers[-1]) + stride) / fps, gap_notes(path, numbers, stride))


def gap_notes(path: Path, numbers: Any, stride: int) -> list[str]:
    """A note on rows that are missing between the first and the last, if there are any."""
    gaps = (int(numbers[-1]) - int(numbers[0])) // stride + 1 - len(numbers)
    return [f"{plural(gaps, 'row')} missing in {path.name}"] if gaps > 0 else []
