"""Predicted boxes of any model as a file: a row for each box, with its class and how certain it is.

Columns are those of predictions (`surgvl.core.predictions`), `video_id` and `time_s` in Parquet, `video` and `time` or
`frame` in a table as text, then `label`, `score`, and `x`, `y`, `w`, `h`: left, top, width and height as parts of the
picture. A row with an empty label says that there is no box at that moment.

Shape letters: M rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.ontology import box_kind
from surgvl.core.parquet import read_parquet
from surgvl.core.prediction_ranks import is_rank_file
from surgvl.core.prediction_table import Cells, read_cells
from surgvl.core.predictions import Predictions, check_facts, facts_of, read_predictions

_PLACE = ("x", "y", "w", "h")
# Detectors go a little over the edge; anything beyond is in pixels.
_LOW, _HIGH = -1.0, 2.0


@dataclass(frozen=True)
class BoxPredictions:
    """Boxes that a model sees in moments of videos.

    Attributes:
        kind: `triplet_box` or another kind of label with boxes; empty if the file does not say.
        video_ids: [M].
        times_s: float64 [M], seconds of the video.
        labels: [M]; empty for a moment without a box.
        xywh: float64 [M, 4], parts of the picture.
        scores: float64 [M], higher is more certain.
        facts: the file's metadata, as of `surgvl.core.predictions.Predictions`.

    Raises:
        DataError: no rows, a value that is not finite, a negative size, a box that is not in parts of the picture, or
            metadata of a wrong type.
    """

    kind: str
    video_ids: Sequence[str]
    times_s: Float64Array
    labels: Sequence[str]
    xywh: Float64Array
    scores: Float64Array
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.video_ids):
            raise DataError("no predicted boxes: give a row for each box, or one with an empty label")
        check_facts(self.facts)
        if not np.isfinite(self.times_s).all():
            raise DataError("times of boxes must be finite: give the second of the video")
        wrong = ~np.isfinite(self.xywh).all(axis=1) | ~np.isfinite(self.scores) | (self.xywh[:, 2:] < 0).any(axis=1)
        wrong |= (self.xywh < _LOW).any(axis=1) | (self.xywh > _HIGH).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            where = f"{self.video_ids[row]} at {self.times_s[row]:g} s"
            raise DataError(
                f"a box of {where} is {', '.join(f'{value:g}' for value in self.xywh[row])} with score "
                f"{self.scores[row]:g}; x,y,w,h must be left, top, width and height as parts of the picture, 0 to 1: "
                "divide pixels by the size of the picture"
            )

    @property
    def class_names(self) -> list[str]:
        """The classes that occur, sorted."""
        return sorted({label for label in self.labels if label})


def read_file(path: Path | str, fps: float | None = None, kind: str = "") -> Predictions | BoxPredictions:
    """Read predictions of either form; arguments and errors as of `surgvl.core.predictions.read_predictions`."""
    path = Path(path)
    if path.is_dir() or path.suffix in (".npz", ".npy") or (path.suffix == ".txt" and is_rank_file(path)):
        return read_predictions(path, fps, kind)
    if path.suffix == ".parquet":
        try:
            if not set(_PLACE) <= set(pq.read_schema(path).names):
                return read_predictions(path, fps, kind)
            table = read_parquet(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} cannot be read ({error}): write the predictions again") from error
        return _of_parquet(path, table, kind)
    cells = read_cells(path, fps)
    return _of_cells(cells, fps, kind) if set(_PLACE) <= set(cells.names) else read_predictions(path, fps, kind)


def _of_parquet(path: Path, table: Any, kind: str) -> BoxPredictions:
    wanted = {"video_id": pa.string(), "time_s": pa.float64(), "label": pa.string()}
    wanted |= dict.fromkeys(("score", *_PLACE), pa.float64())
    if set(table.column_names) != set(wanted):
        raise DataError(f"{path}: columns {', '.join(table.column_names)} must be {', '.join(wanted)}: rename them")
    try:
        columns = {name: table[name].cast(type_) for name, type_ in wanted.items()}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: a column has the wrong type ({error}): scores, times and boxes are numbers"
        ) from error
    labels = [label or "" for label in columns["label"].to_pylist()]
    numbers = {name: columns[name].to_numpy() for name in ("time_s", "score", *_PLACE)}
    # Of a moment without a box, nothing else is asked for.
    empty = np.array([not label for label in labels], bool)
    score, *place = (np.where(empty, 0.0, numbers[name]) for name in ("score", *_PLACE))
    facts = facts_of(path, table)
    own = str(facts.pop("task", ""))
    facts.pop("classes", None)
    if own and kind and box_kind(own) != box_kind(kind):
        raise DataError(f"{path} predicts labels of kind {own!r}, not {kind!r}: leave the kind out")
    ids = columns["video_id"].to_pylist()
    if None in ids:
        raise DataError(f"{path}, row {ids.index(None)}: video_id is missing")
    return _checked(path, own or kind, ids, numbers["time_s"], labels, np.stack(place, 1), score, facts)


def _of_cells(cells: Cells, fps: float | None, kind: str) -> BoxPredictions:
    allowed = ("video", "time", "frame", "label", "score", *_PLACE)
    if strange := [name for name in cells.names if name not in allowed]:
        raise DataError(f"{cells.path}: columns {', '.join(strange)} of boxes do not fit; drop them")
    if lacks := [name for name in ("label", "score") if name not in cells.names]:
        raise DataError(f"{cells.path}: boxes need a column `{lacks[0]}` beside x,y,w,h: add it")
    labels = cells.texts("label", allow_empty=True)
    there = [at for at, label in enumerate(labels) if label]
    boxed = Cells(cells.path, cells.head, cells.names, [cells.rows[at] for at in there])
    values = np.zeros((len(labels), 5))
    values[there] = np.stack([boxed.numbers(name) for name in ("score", *_PLACE)], axis=1)
    videos, times_s = cells.texts("video"), cells.times_s(fps)
    return _checked(cells.path, kind, videos, times_s, labels, values[:, 1:], values[:, 0], {})


def _checked(path: Path, kind: str, *columns: Any) -> BoxPredictions:
    try:
        return BoxPredictions(box_kind(kind) if kind else "", *columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
