"""The table of recordings: their files by content, and how far each is."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from surgvl.archive.database import Database
from surgvl.archive.records import State
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError


@dataclass(frozen=True)
class FileRow:
    """A row of `recordings`: a file, what its header says, and where it comes from.

    Attributes:
        path: relative to the archive's folder where both lie below one folder, so that they can be moved together;
            else absolute.
        mtime_ns: when the file was last modified; with its size, tells whether it must be read again.
    """

    id: str
    path: str
    content: str
    size: int
    mtime_ns: int
    fps: float
    duration_s: float
    width: int
    height: int
    added_s: float
    state: State
    problem: str = ""
    source: str = ""
    specialty: str = ""
    licence: str = ""
    split: str = ""
    dataset: str = ""
    rendered: bool = False

    def now(self, state: State, problem: str = "") -> "FileRow":
        """The row in another state."""
        return replace(self, state=state, problem=problem)


# Where a recording comes from, as `data.manifest.VideoRow` has it; this stays when its file changes.
ORIGIN = ("source", "specialty", "licence", "split", "dataset", "rendered")
_COLUMNS = tuple(FileRow.__dataclass_fields__)
# Tables with a column `recording`.
_BELONGINGS = ("details", "labels", "clips")
_REMOVALS = ("removed_labels", "removed_clips")


class RecordingTable(Database):
    """Rows of recordings, in the order in which they were added."""

    def rows(self) -> list[FileRow]:
        """All rows."""
        return self._rows("ORDER BY rowid")

    def row(self, id: str) -> FileRow:
        """One row.

        Raises:
            DataError: there is no such recording.
        """
        if found := self._rows("WHERE id = ?", id):
            return found[0]
        hint = did_you_mean(id, [name for (name,) in self.select("SELECT id FROM recordings")])
        raise DataError(f"the archive has no recording {id!r}: {hint or 'see `surgvl archive list`'}")

    def by_content(self, content: str) -> FileRow | None:
        """The row of a content, if it has one."""
        return next(iter(self._rows("WHERE content = ? ORDER BY rowid", content)), None)

    def by_path(self, path: str) -> FileRow | None:
        """The row of a file, if it has one."""
        return next(iter(self._rows("WHERE path = ?", path)), None)

    def put(self, row: FileRow) -> None:
        """Insert a row, or replace that of the same id."""
        names, marks = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
        same = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
        self.execute(
            f"INSERT INTO recordings ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {same}",
            *(vars(row)[name] for name in _COLUMNS),
        )

    def set_state(self, id: str, state: State, problem: str = "") -> None:
        """Say how far a recording is."""
        self.execute("UPDATE recordings SET state = ?, problem = ? WHERE id = ?", state, problem, id)

    def forget(self, ids: Iterable[str]) -> None:
        """Delete recordings with all that is known of them."""
        with self.transaction():
            for id in ids:
                for kind in ("label", "clip"):
                    self.execute(
                        f"DELETE FROM removed_{kind}s WHERE {kind} IN (SELECT id FROM {kind}s WHERE recording = ?)", id
                    )
                for table in _BELONGINGS:
                    self.execute(f"DELETE FROM {table} WHERE recording = ?", id)
                self.execute("DELETE FROM recordings WHERE id = ?", id)
            # Changes name what was changed.
            left = " UNION ".join(f"SELECT change FROM {table}" for table in (*_BELONGINGS, *_REMOVALS))
            self.execute(f"DELETE FROM changes WHERE id NOT IN ({left})")
        self.select("PRAGMA wal_checkpoint(TRUNCATE)")

    def _rows(self, where: str, *values: object) -> list[FileRow]:
        rows: list[Any] = self.select(f"SELECT {', '.join(_COLUMNS)} FROM recordings {where}", *values)
        return [replace(FileRow(*row), rendered=bool(row[-1])) for row in rows]


def stored_path(path: Path, archive: Path) -> str:
    """A file as `FileRow.path` has it."""
    path, home = path.resolve(), archive.resolve()
    near = path.is_relative_to(home.parent) and home.parent != Path(home.anchor)
    return Path(os.path.relpath(path, home)).as_posix() if near else str(path)
