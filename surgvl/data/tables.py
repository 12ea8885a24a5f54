"""Rows and columns of a manifest: a pydantic model of each row, its arrow schema, and one vectorised check of tables.

Times are seconds of the source video. A segment covers start_s <= t < end_s.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from surgvl.core.errors import DataError
from surgvl.core.plurals import part_of

SPLITS = ("train", "val", "test", "")
# Columns that were added after the first manifests had been written. A missing one is read as empty, and one that is
# entirely empty is neither saved nor hashed: old folders stay readable, and manifests without them keep their hash.
ADDED = ("box", "conversation", "dataset", "xywh")
PHANTOM = "phantom"
RENDERED_PROCEDURE = "laparoscopic cholecystectomy (rendered)"

Name = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _default_rendered(row: dict[str, Any]) -> bool:
    """Default of `rendered`: true for the phantom, under its own or another source name."""
    names = {str(row.get(name, "")).casefold() for name in ("source", "dataset")}
    return PHANTOM in names or row.get("procedure", "") == RENDERED_PROCEDURE


class VideoRow(_Row):
    """One video.

    Attributes:
        path: relative to the manifest's root, or absolute; empty if only labels are at hand.
        source: name of the origin in this manifest.
        dataset: name of the data set whose labels the video has, if that differs from `source`; see `data_set`.
        rendered: whether a program rendered the video, so that it shows no patient; by default, whether it is a
            phantom's.
    """

    video_id: Name
    path: str
    source: Name
    procedure: str = ""
    specialty: str = ""
    fps: Positive
    duration_s: Positive
    licence: str = ""
    split: Literal["train", "val", "test", ""] = ""
    dataset: str = ""
    rendered: bool = Field(default_factory=_default_rendered)

    @property
    def data_set(self) -> str:
        """Name of the data set whose labels the video has."""
        return self.dataset or self.source


class Segment(_Row):
    """A label of a task over a segment of a video; the label of a narration is its sentence.

    Attributes:
        xywh: left, top, width and height of its box as parts of the picture, "0.1,0.2,0.3,0.4"; empty without one.
    """

    video_id: Name
    start_s: Seconds
    end_s: Seconds
    task: Name
    label: Name
    xywh: str = ""


class QA(_Row):
    """A question about a segment of a video, and its answer.

    Attributes:
        type: groups questions in result tables, and says whether the answer is free text (see `is_open`).
        box: where the answer is seen, "x1,y1,x2,y2" in pixels from the top left corner; empty if unknown.
        conversation: rows of a video with the same non-empty value are turns of one conversation, in table order.
    """

    video_id: Name
    start_s: Seconds
    end_s: Seconds
    question: Name
    answer: Name
    type: str = ""
    source: str = ""
    box: str = ""
    conversation: str = ""


def is_open(kind: str) -> bool:
    """Whether questions of a type have free-text answers: `open`, `open_phase`, ..., and `describe` (narration)."""
    return kind in ("open", "describe") or kind.startswith("open_")


RowT = TypeVar("RowT", bound=_Row)


def schema_of(row: type[_Row]) -> Any:
    """The arrow schema of a row class: its fields in order, numbers as float64, flags as bool, all others as string."""
    kinds = {"fps": pa.float64(), "duration_s": pa.float64(), "start_s": pa.float64(), "end_s": pa.float64()}
    kinds["rendered"] = pa.bool_()
    return pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in row.model_fields])


def to_table(rows: Any, row: type[RowT], where: str) -> Any:
    """Convert rows to a checked arrow table, or check a table.

    Args:
        rows: a sequence of `row`, or an arrow table with exactly its columns (in any order, dictionary-encoded or not;
            those of `ADDED` and `rendered` may be missing).
        row: `VideoRow`, `Segment` or `QA`.
        where: the file or origin, for messages.

    Raises:
        DataError: unknown or missing columns, missing values, NaN, infinite or negative times, an empty name, an end
            that is not after its start.
    """
    schema = schema_of(row)
    if not isinstance(rows, pa.Table):
        rows = pa.table(
            {name: pa.array([getattr(r, name) for r in rows], schema.field(name).type) for name in schema.names}
        )
    rows = add_empty_columns(rows, row)
    unknown, missing = (
        sorted(set(rows.column_names) - set(schema.names)),
        sorted(set(schema.names) - set(rows.column_names)),
    )
    if unknown or missing or len(rows.column_names) != len(schema.names):
        raise DataError(
            f"{where}: columns {rows.column_names} do not fit (unknown {unknown}, missing {missing}); "
            f"allowed are {', '.join(schema.names)}: rename or drop them"
        )
    try:
        table = rows.select(schema.names).cast(schema).combine_chunks()
    except (pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(f"{where}: a column has the wrong type ({error}); it must be {schema.to_string()!r}") from error
    for name in schema.names:
        if table[name].null_count:
            at = pc.index(pc.is_null(table[name]), True).as_py()
            raise DataError(f"{where}, row {at}: {name} is missing: fill it or drop the row")
    _check_names(table, row, where)
    _check_times(table, where)
    return table


def add_empty_columns(table: Any, row: type[_Row]) -> Any:
    """Add the columns that an older table lacks: empty ones, and `rendered` with its default."""
    for name in ADDED:
        if name in row.model_fields and name not in table.column_names:
            table = table.append_column(name, pa.repeat("", len(table)))
    if "rendered" in row.model_fields and "rendered" not in table.column_names and "source" in table.column_names:
        table = table.append_column("rendered", _default_rendered_column(table))
    return table


def _default_rendered_column(table: Any) -> Any:
    names = [name for name in ("source", "dataset", "procedure") if name in table.column_names]
    return pa.array([_default_rendered(row) for row in table.select(names).to_pylist()], pa.bool_())


def drop_empty_columns(table: Any) -> Any:
    """Drop those columns of `ADDED` that are entirely empty."""
    kept = [n for n in table.column_names if n not in ADDED or pc.any(pc.not_equal(table[n], "")).as_py()]
    return table.select(kept)


def hashed_columns(table: Any) -> Any:
    """What a manifest's hash covers: columns that are not empty, `rendered` only where it is not the default."""
    if "rendered" in table.column_names:
        if pc.all(pc.equal(table["rendered"], _default_rendered_column(table)), min_count=0).as_py():
            table = table.drop_columns(["rendered"])
        else:
            at = table.column_names.index("rendered")
            table = table.set_column(at, "rendered", table["rendered"].cast(pa.string()))
    return drop_empty_columns(table)


def rendered_note(videos: Sequence[VideoRow]) -> str:
    """The note on rendered videos for a page of scores, as a list item; empty if there are none."""
    count = sum(row.rendered for row in videos)
    if not count:
        return ""
    if count == len(videos):
        return "- phantom: these numbers show that the software works, and say nothing about patients\n"
    return (
        f"- phantom: {part_of(count, len(videos), 'video', 'is')} rendered; numbers with them show that the software "
        "works, and say nothing about patients\n"
    )


def _first(mask: Any) -> int | None:
    """Index of the first true value, or None."""
    mask = np.asarray(mask)
    return int(mask.argmax()) if mask.any() else None


def _check_names(table: Any, row: type[_Row], where: str) -> None:
    for name, field in row.model_fields.items():
        if any(getattr(rule, "min_length", 0) for rule in field.metadata):
            at = _first(pc.equal(table[name], "").to_numpy())
            if at is not None:
                raise DataError(f"{where}, row {at}: {name} is empty: fill it or drop the row")


def _check_times(table: Any, where: str) -> None:
    for name in ("start_s", "end_s", "fps", "duration_s"):
        if name not in table.column_names:
            continue
        values = table[name].to_numpy()
        strict = name in {"fps", "duration_s"}
        at = _first(~np.isfinite(values) | (values <= 0 if strict else values < 0))
        if at is not None:
            rule = "finite and above 0" if strict else "finite and not negative"
            raise DataError(f"{where}, row {at}: {name} is {values[at]}; it must be {rule}: correct the row")
    if "end_s" in table.column_names:
        start, end = table["start_s"].to_numpy(), table["end_s"].to_numpy()
        at = _first(end <= start)
        if at is not None:
            raise DataError(f"{where}, row {at}: end_s {end[at]} is not after start_s {start[at]}: correct the row")


def to_rows(table: Any, row: type[RowT]) -> list[RowT]:
    """Rows of a checked table as pydantic objects (not validated again; slow beyond some 100,000 rows)."""
    return [row.model_construct(**values) for values in table.to_pylist()]
