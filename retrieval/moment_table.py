"""The moment table of an index: SQLite, `moments(id, video_id, path, start_s, end_s, procedure, source)`."""

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.retrieval.where import EVERYWHERE, Where

_COLUMNS = "id, video_id, path, start_s, end_s, procedure, source"
_CREATE = """
CREATE TABLE IF NOT EXISTS moments (
    id INTEGER PRIMARY KEY, video_id TEXT NOT NULL, path TEXT NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL,
    procedure TEXT NOT NULL, source TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_video ON moments (video_id, start_s);
CREATE INDEX IF NOT EXISTS by_procedure ON moments (procedure);
CREATE INDEX IF NOT EXISTS by_source ON moments (source);
"""


class MomentRow(NamedTuple):
    """A clip with a vector; times in seconds of the source file."""

    id: int
    video_id: str
    path: str
    start_s: float
    end_s: float
    procedure: str
    source: str


def moment_id(video_id: str, start_s: float, end_s: float, model_hash: str) -> int:
    """Stable id of a clip and encoder: 63 bits of a hash of video, milliseconds and model hash."""
    text = f"{video_id}\x1f{round(start_s * 1000)}\x1f{round(end_s * 1000)}\x1f{model_hash}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class MomentTable:
    """One connection behind a lock, so that any thread may read and write.

    Args:
        path: the file; created if missing.
        for_reading: open an existing, immutable file read-only and without locks.

    Raises:
        DataError: it is not a moment table.
    """

    def __init__(self, path: Path | str, for_reading: bool = False) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        try:
            if for_reading:
                there = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
                self._connection = sqlite3.connect(there, uri=True, check_same_thread=False)
            else:
                self._connection = sqlite3.connect(self.path, check_same_thread=False, timeout=30)
                self._connection.executescript(_CREATE)
            self._connection.execute(f"SELECT {_COLUMNS} FROM moments LIMIT 1")
        except sqlite3.Error as error:
            raise DataError(f"{path} is not a moment table ({error}): rebuild the index") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __len__(self) -> int:
        return int(self._all("SELECT count(*) FROM moments", ())[0][0])

    def put(self, rows: Iterable[MomentRow]) -> None:
        """Insert rows, or replace those of the same id, in one transaction."""
        self._write("INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def delete(self, ids: Iterable[int]) -> None:
        """Delete rows by id, in one transaction."""
        self._write("DELETE FROM moments WHERE id = ?", ((int(name),) for name in ids))

    def delete_video(self, video_id: str) -> NDArray[np.int64]:
        """Delete the rows of a video. Returns their ids."""
        ids = self.ids(Where(recordings=(video_id,)))
        self.delete(ids.tolist())
        return ids

    def ids(self, where: Where = EVERYWHERE) -> NDArray[np.int64]:
        """Ids of the rows that match, ascending."""
        clauses: list[str] = []
        values: list[object] = []
        if where.recordings is not None:
            clauses.append(f"video_id IN ({','.join('?' * len(where.recordings))})")
            values += where.recordings
        for name, value in (("procedure", where.procedure), ("source", where.source)):
            clauses += [f"{name} = ?"] * bool(value)
            values += [value] * bool(value)
        middle = "start_s + end_s >= ? AND start_s + end_s < ?"
        if where.span_s is not None:
            clauses.append(middle)
            values += [2 * time_s for time_s in where.span_s]
        if where.spans is not None:
            clauses.append("(" + (" OR ".join([f"(video_id = ? AND {middle})"] * len(where.spans)) or "0") + ")")
            for name, start_s, end_s in where.spans:
                values += [name, 2 * start_s, 2 * end_s]
        query = "SELECT id FROM moments" + (f" WHERE {' AND '.join(clauses)}" if clauses else "") + " ORDER BY id"
        return np.array([name for (name,) in self._all(query, tuple(values))], np.int64)

    def rows(self, ids: Sequence[int] | NDArray[np.int64]) -> dict[int, MomentRow]:
        """Rows by id; unknown ids are not in the result."""
        found: dict[int, MomentRow] = {}
        keys = [int(name) for name in ids]
        for at in range(0, len(keys), 500):
            part = keys[at : at + 500]
            marks = ",".join("?" * len(part))
            for row in self._all(f"SELECT {_COLUMNS} FROM moments WHERE id IN ({marks})", tuple(part)):
                found[row[0]] = MomentRow(*row)
        return found

    def of_video(self, video_id: str) -> list[MomentRow]:
        """Rows of a video, by start."""
        query = f"SELECT {_COLUMNS} FROM moments WHERE video_id = ? ORDER BY start_s, end_s"
        return [MomentRow(*row) for row in self._all(query, (video_id,))]

    def counts(self, column: str) -> dict[str, int]:
        """Number of rows per value of `video_id`, `procedure` or `source`.

        Raises:
            DataError: another column.
        """
        if column not in ("video_id", "procedure", "source"):
            raise DataError(f"the column must be video_id, procedure or source, got {column!r}")
        query = f"SELECT {column}, count(*) FROM moments GROUP BY {column} ORDER BY {column}"
        return {str(name): int(number) for name, number in self._all(query, ())}

    def _all(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._lock:
            try:
                return list(self._connection.execute(query, values).fetchall())
            except sqlite3.Error as error:
                raise DataError(f"{self.path} cannot be read ({error}): try again, or rebuild the index") from error

    def _write(self, query: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._lock:
            try:
                with self._connection:
                    self._connection.executemany(query, rows)
            except sqlite3.Error as error:
                raise DataError(f"{self.path} cannot be written ({error}): check disk space and permissions") from error
