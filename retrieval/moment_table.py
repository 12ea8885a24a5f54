"""The moment table of an index: the clip behind each vector, in the order of the vectors.

Parquet columns: id, video_id, path, start_s, end_s, procedure, source. The rows of a recording are together, by start,
so a recording is a slice. Older folders hold the same columns in SQLite, in any order.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import DataError, first_line
from surgvl.core.files import atomic
from surgvl.core.parquet import read_parquet
from surgvl.retrieval.where import Where

_NAMES = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    [("id", pa.int64()), ("video_id", _NAMES), ("path", _NAMES), ("start_s", pa.float64()), ("end_s", pa.float64()),
     ("procedure", _NAMES), ("source", _NAMES)]
)  # fmt: skip


class Facts(NamedTuple):
    """What is known about a recording."""

    path: str
    procedure: str
    source: str


def moment_id(video_id: str, start_s: float, end_s: float, model_hash: str) -> int:
    """Stable id of a clip and encoder: 63 bits of a hash of video, milliseconds and model hash."""
    text = f"{video_id}\x1f{round(start_s * 1000)}\x1f{round(end_s * 1000)}\x1f{model_hash}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, eq=False)
class MomentTable:
    """N clips of V recordings, immutable.

    Attributes:
        ids: int64 [N].
        start_s: float64 [N], seconds of the source file.
        end_s: float64 [N].
        names: ids of the recordings, in the order of their rows [V].
        first: int64 [V + 1], where the rows of each recording begin, and N.
        facts: of each recording [V].
    """

    ids: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    names: tuple[str, ...]
    first: NDArray[np.int64]
    facts: tuple[Facts, ...]

    @classmethod
    def of(
        cls, video_ids: Sequence[str], start_s: ArrayLike, end_s: ArrayLike, facts: Mapping[str, Facts], model_hash: str
    ) -> tuple[Self, NDArray[np.int64]]:
        """A table of clips [M]; of clips with the same recording and milliseconds, the first is kept.

        Returns:
            The table, and which clip each row is, int64 [N].
        """
        starts, ends = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
        places = {name: at for at, name in enumerate(dict.fromkeys(video_ids))}
        video = np.fromiter((places[name] for name in video_ids), np.int64, len(video_ids))
        clips = zip(video_ids, starts.tolist(), ends.tolist(), strict=True)
        every = np.fromiter((moment_id(*clip, model_hash) for clip in clips), np.int64, len(video_ids))
        kept = np.unique(every, return_index=True)[1]
        kept = kept[np.lexsort((ends[kept], starts[kept], video[kept]))]
        return cls._of_rows(every[kept], starts[kept], ends[kept], video[kept], list(places), facts), kept

    @classmethod
    def empty(cls) -> Self:
        """No clips."""
        return cls.of([], [], [], {}, "")[0]

    @classmethod
    def _of_rows(
        cls,
        ids: NDArray[np.int64],
        start_s: NDArray[np.float64],
        end_s: NDArray[np.float64],
        video: NDArray[np.int64],
        names: Sequence[str],
        facts: Mapping[str, Facts],
    ) -> Self:
        first = np.flatnonzero(np.diff(video, prepend=-1)) if len(video) else np.zeros(0, np.int64)
        there = tuple(names[at] for at in video[first].tolist())
        return cls(ids, start_s, end_s, there, np.append(first, len(ids)), tuple(facts[name] for name in there))

    @classmethod
    def join(cls, tables: Iterable["MomentTable"]) -> Self:
        """One table after the other; they share no recording."""
        some: list[MomentTable] = [cls.empty(), *tables]
        counts = np.cumsum([0, *(len(table) for table in some)])
        first = [table.first[:-1] + at for table, at in zip(some, counts[:-1], strict=True)]
        return cls(
            np.concatenate([table.ids for table in some]),
            np.concatenate([table.start_s for table in some]),
            np.concatenate([table.end_s for table in some]),
            tuple(name for table in some for name in table.names),
            np.concatenate([*first, counts[-1:]]),
            tuple(each for table in some for each in table.facts),
        )

    def without(self, names: Iterable[str]) -> "MomentTable":
        """The table without some recordings."""
        gone = set(names).intersection(self.names)
        if not gone:
            return self
        left = np.array([name not in gone for name in self.names])
        lengths = np.diff(self.first)
        kept = np.repeat(left, lengths)
        return MomentTable(
            self.ids[kept], self.start_s[kept], self.end_s[kept],
            tuple(name for name in self.names if name not in gone),
            np.concatenate([[0], np.cumsum(lengths[left])]).astype(np.int64),
            tuple(each for each, stays in zip(self.facts, left.tolist(), strict=True) if stays),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.names)}

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.ids)

    def slice_of(self, video_id: str) -> slice:
        """The rows of a recording; none if it is unknown."""
        at = self._places.get(video_id)
        return slice(0, 0) if at is None else slice(int(self.first[at]), int(self.first[at + 1]))

    def recordings_of(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Place of the recording of each row among `names`, int64 [M]."""
        return np.asarray(np.searchsorted(self.first, rows, side="right") - 1, np.int64)

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of ids that are in the table, int64 [M]."""
        return self._order[np.searchsorted(self.ids, ids, sorter=self._order)]

    def num_matching(self, where: Where) -> tuple[int, int]:
        """How many clips meet the conditions, and of how many recordings they are."""
        rows = self.matching(where)
        return len(rows), len(np.unique(self.recordings_of(rows)))

    def matching(self, where: Where) -> NDArray[np.int64]:
        """Rows of the clips that meet the conditions, int64 [M], ascending; those of archives are not looked at."""
        among = None if where.recordings is None else set(where.recordings)
        wanted = [
            (among is None or name in among)
            and where.procedure in ("", each.procedure)
            and where.source in ("", each.source)
            for name, each in zip(self.names, self.facts, strict=True)
        ]
        mask = np.repeat(np.array(wanted, bool), np.diff(self.first))
        middle = (self.start_s + self.end_s) / 2
        if where.span_s is not None:
            mask &= (middle >= where.span_s[0]) & (middle < where.span_s[1])
        if where.spans is not None:
            inside = np.zeros(len(self), bool)
            for name, start_s, end_s in where.spans:
                rows = self.slice_of(name)
                inside[rows] |= (middle[rows] >= start_s) & (middle[rows] < end_s)
            mask &= inside
        return np.flatnonzero(mask)

    def counts(self, column: str) -> dict[str, int]:
        """Number of rows per value of `video_id`, `procedure` or `source`, by value.

        Raises:
            DataError: another column.
        """
        if column not in ("video_id", "procedure", "source"):
            raise DataError(f"the column must be video_id, procedure or source, got {column!r}")
        values = self.names if column == "video_id" else [each._asdict()[column] for each in self.facts]
        found: dict[str, int] = {}
        for value, count in zip(values, np.diff(self.first).tolist(), strict=True):
            found[value] = found.get(value, 0) + count
        return dict(sorted(found.items()))

    # ---- files

    def write(self, path: Path | str) -> None:
        """Write the Parquet file, atomically."""
        codes = np.repeat(np.arange(len(self.names), dtype=np.int32), np.diff(self.first))
        words = [self.names, *([each[at] for each in self.facts] for at in range(3))]
        video, place, procedure, source = (
            pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(values), pa.string())) for values in words
        )
        columns = [pa.array(self.ids), video, place, pa.array(self.start_s), pa.array(self.end_s), procedure, source]
        with atomic(path) as temporary:
            pq.write_table(pa.table(columns, schema=_SCHEMA), temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a table.

        Raises:
            DataError: it is missing or not a moment table, or the rows of a recording are not together.
        """
        path = Path(path)
        try:
            table = _read_sqlite(path) if path.suffix == ".sqlite" else read_parquet(path)
        except (OSError, pa.ArrowInvalid, sqlite3.Error) as error:
            fact = first_line(error)
            raise DataError(f"{path} is not a moment table ({fact}): rebuild the index") from error
        if table.schema.names != _SCHEMA.names:
            raise DataError(
                f"{path} must have the columns {_SCHEMA.names}, got {table.schema.names}: rebuild the index"
            )
        table = table.cast(_SCHEMA).combine_chunks()
        if any(table[name].null_count for name in _SCHEMA.names):
            raise DataError(f"{path} has empty cells: rebuild the index")
        # A recording may have several codes: dictionaries are unified by value.
        video = table["video_id"].unify_dictionaries().combine_chunks()
        codes, names = np.asarray(video.indices, np.int64), video.dictionary.to_pylist()
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        if len(np.unique(codes[starts])) != len(starts):
            raise DataError(f"{path}: the rows of a recording are not together: rebuild the index")
        heads = table.select(["path", "procedure", "source"]).take(pa.array(starts)).to_pylist()
        facts = {names[codes[at]]: Facts(**row) for at, row in zip(starts.tolist(), heads, strict=True)}
        ids, start_s, end_s = (np.asarray(table[name]) for name in ("id", "start_s", "end_s"))
        return cls._of_rows(ids, start_s, end_s, codes, names, facts)


def _read_sqlite(path: Path) -> "pa.Table":
    """The table of a folder of version 1."""
    columns = ", ".join(_SCHEMA.names)
    there = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(there, uri=True)) as connection:
        rows = connection.execute(f"SELECT {columns} FROM moments ORDER BY video_id, start_s, end_s").fetchall()
    return pa.table(dict(zip(_SCHEMA.names, zip(*rows, strict=True), strict=True)) if rows else _SCHEMA.empty_table())
