"""Predictions in a table as text (CSV): the columns by name, each value checked, errors with line and column.

Shape letters: N rows, C classes.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from surgvl.core.arrays import Float32Array, Float64Array
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError

_SPELT = {
    "video_id": "video",
    "time_s": "time",
    "second": "time",
    "start_s": "start",
    "end_s": "end",
}
_FORMS = (
    "video,time,label; video,start,end,label; video,time,value; or video,time and a column of scores for each class"
)


@dataclass(frozen=True)
class PredictionTable:
    """The columns of predictions; of scores, labels and values, one is given.

    Attributes:
        video_ids: [N].
        times_s: float64 [N].
        class_names: [C], of the scores; empty if columns are in the order of the ids of the data set's classes.
        scores: float32 [N, C].
        labels: [N]; None or empty where a moment has no label. A moment may have several rows.
        values: float64 [N].
        truth: of each row [N] the columns of its true classes; empty if the file does not say.
        whole: whether a row is a whole video, named by its file, at 0 s.
    """

    video_ids: Sequence[str]
    times_s: Float64Array
    class_names: Sequence[str] = field(default_factory=list)
    scores: Float32Array | None = None
    labels: Sequence[str | None] | None = None
    values: Float64Array | None = None
    truth: Sequence[Sequence[int]] = ()
    whole: bool = False


def read_table(path: Path, fps: float | None = None) -> PredictionTable:
    """Read a table as text, with a header and separated by commas, semicolons or tabs.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        fps: frames per second, for a column `frame` that counts from 0.

    Raises:
        DataError: the file cannot be read, columns are unknown or missing, or a value does not fit.
    """
    cells = read_cells(path, fps)
    head, names, videos = cells.head, cells.names, cells.texts("video")
    if {"start", "end", "label"} <= set(names):
        return _of_spans(cells, videos)
    times_s = cells.times_s(fps)
    rest = [at for at, name in enumerate(names) if name not in ("video", "time", "frame")]
    if [names[at] for at in rest] == ["label"]:
        return PredictionTable(videos, times_s, labels=cells.texts("label", allow_empty=True))
    if [names[at] for at in rest] == ["value"]:
        return PredictionTable(videos, times_s, values=cells.numbers("value"))
    if not rest or {"label", "value"} & {names[at] for at in rest}:
        raise DataError(f"{path}: columns {', '.join(head)} do not fit; forms are {_FORMS}: drop or rename columns")
    for at in rest:
        if not any(_is_number(row[at]) for _, row in cells.rows):
            raise DataError(
                f"{path}: column {head[at]} holds no scores, but {cells.rows[0][1][at]!r} and others; forms are "
                f"{_FORMS}: call the column of predicted classes `label`, and drop others"
            )
    scores = np.stack([cells.column(at) for at in rest], axis=1).astype(np.float32)
    return PredictionTable(videos, times_s, [head[at].removeprefix("score:") for at in rest], scores)


@dataclass(frozen=True)
class Cells:
    """The cells of a table, with the place of each for messages.

    Attributes:
        path: the file.
        head: its columns.
        names: the columns in small letters, each spelt in one way.
        rows: number of the line, and its cells.
    """

    path: Path
    head: Sequence[str]
    names: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]

    def texts(self, name: str, allow_empty: bool = False) -> list[str]:
        """The column of a name, without blanks at the ends."""
        at = self.names.index(name)
        found = [row[at].strip() for _, row in self.rows]
        if not allow_empty and "" in found:
            raise DataError(f"{self.path}, line {self.rows[found.index('')][0]}: {self.head[at]} is empty: fill it")
        return found

    def numbers(self, name: str, low: float = -math.inf) -> Float64Array:
        """The column of a name as finite numbers >= `low`."""
        return self.column(self.names.index(name), low)

    def times_s(self, fps: float | None) -> Float64Array:
        """Seconds, from the column `time`, or `frame` at a rate."""
        if "frame" in self.names and (fps is not None or "time" not in self.names):
            if fps is None:
                raise DataError(f"{self.path}: column `frame` counts frames, not seconds: give --predictions_fps")
            times_s = self.numbers("frame", 0) / fps
        elif "time" in self.names:
            times_s = self.numbers("time", 0)
        else:
            columns = ", ".join(self.head)
            raise DataError(f"{self.path}: no column `time` or `frame` among {columns}; forms are {_FORMS}: add one")
        # As the times of labels, so that 3 * 0.04 is 0.12.
        return np.round(times_s, 4)

    def column(self, at: int, low: float = -math.inf) -> Float64Array:
        """The column at a position as finite numbers >= `low`."""
        found = np.empty(len(self.rows))
        for row, (number, cells) in enumerate(self.rows):
            try:
                found[row] = float(cells[at])
            except ValueError:
                found[row] = math.nan
            if not (math.isfinite(found[row]) and found[row] >= low):
                allowed = "a finite number" if low == -math.inf else f"a number >= {low:g}"
                raise DataError(
                    f"{self.path}, line {number}, column {self.head[at]}: must be {allowed}, got {cells[at]!r}: "
                    "correct it or drop the line"
                )
        return found


def read_cells(path: Path, fps: float | None = None) -> Cells:
    """Read the cells of a table as text that has a column `video`, and `frame` if frames have a rate.

    Raises:
        DataError: the file cannot be read, a line has a different number of cells, or there is no such column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): give predictions as Parquet or as UTF-8 text") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    lines = [row for row in csv.reader(text.splitlines(), delimiter=separator)]
    if len(lines) < 2:
        raise DataError(f"{path} has no predictions: it needs a header and a line for each; forms are {_FORMS}")
    head = [name.strip() for name in lines[0]]
    names = [_SPELT.get(name.casefold(), name.casefold()) for name in head]
    rows = [(number, row) for number, row in enumerate(lines[1:], 2) if any(cell.strip() for cell in row)]
    for number, row in rows:
        if len(row) != len(head):
            raise DataError(f"{path}, line {number}: {len(row)} cells for {len(head)} columns {', '.join(head)}")
    if "video" not in names:
        hint = did_you_mean("video", names, "rename a column, or add one with the id of the video")
        raise DataError(f"{path}: no column `video` among {', '.join(head)}; forms are {_FORMS}: {hint}")
    if fps is not None and "frame" not in names:
        raise DataError(
            f"{path}: no column `frame` among {', '.join(head)}, which --predictions_fps {fps:g} is for: rename the "
            "column that counts frames, or leave --predictions_fps out"
        )
    return Cells(path, head, names, rows)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _of_spans(cells: Cells, videos: Sequence[str]) -> PredictionTable:
    """Segments, read at each whole second t with start <= t < end."""
    if strange := [name for name in cells.names if name not in ("video", "start", "end", "label")]:
        raise DataError(f"{cells.path}: columns {', '.join(strange)} do not fit; forms are {_FORMS}: drop them")
    starts, ends, labels = cells.numbers("start", 0), cells.numbers("end", 0), cells.texts("label", allow_empty=True)
    found: tuple[list[str], list[float], list[str | None]] = ([], [], [])
    for at, (number, _) in enumerate(cells.rows):
        if ends[at] <= starts[at]:
            raise DataError(
                f"{cells.path}, line {number}: end {ends[at]:g} must be after start {starts[at]:g}: correct the line"
            )
        seconds = range(math.ceil(starts[at]), math.ceil(ends[at]))
        found[0].extend([videos[at]] * len(seconds))
        found[1].extend(map(float, seconds))
        found[2].extend([labels[at]] * len(seconds))
    return PredictionTable(found[0], np.array(found[1], np.float64), labels=found[2])
