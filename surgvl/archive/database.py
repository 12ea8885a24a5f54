"""The SQLite file of a catalogue, and the journal of what people changed in it.

Nothing that a person entered is overwritten: rows name the change that made them, and undoing a change adds a row to
`undone`. Write-ahead logging lets any number of processes read while one writes; a killed one, and a loss of power,
leave the last commit.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surgvl.core.errors import ConfigError, DataError

# Milliseconds that a transaction waits for one of another process, which takes a few.
WAIT_MS = 30_000
VERSION = 2

SCHEMA = """
CREATE TABLE IF NOT EXISTS recordings (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, content TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, fps REAL NOT NULL, duration_s REAL NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, added_s REAL NOT NULL, state TEXT NOT NULL, problem TEXT NOT NULL, source TEXT NOT NULL,
    specialty TEXT NOT NULL, licence TEXT NOT NULL, split TEXT NOT NULL, dataset TEXT NOT NULL,
    rendered INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_content ON recordings (content);
CREATE INDEX IF NOT EXISTS by_path ON recordings (path);

CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL, made_s REAL NOT NULL, what TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS undone (change INTEGER PRIMARY KEY, who TEXT NOT NULL, made_s REAL NOT NULL);
CREATE VIEW IF NOT EXISTS valid AS SELECT * FROM changes WHERE id NOT IN (SELECT change FROM undone);
CREATE TABLE IF NOT EXISTS details (
    change INTEGER NOT NULL, recording TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS details_of ON details (recording, field, change);
CREATE TABLE IF NOT EXISTS labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, change INTEGER NOT NULL, recording TEXT NOT NULL, track TEXT NOT NULL,
    name TEXT NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL,
    xywh TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS labels_of ON labels (recording, start_s);
CREATE TABLE IF NOT EXISTS removed_labels (label INTEGER NOT NULL, change INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS removals_of_label ON removed_labels (label);
CREATE TABLE IF NOT EXISTS clips (
    id INTEGER PRIMARY KEY AUTOINCREMENT, change INTEGER NOT NULL, recording TEXT NOT NULL, start_s REAL NOT NULL,
    end_s REAL NOT NULL, title TEXT NOT NULL, note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS removed_clips (clip INTEGER NOT NULL, change INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, what TEXT NOT NULL, state TEXT NOT NULL,
    done REAL NOT NULL DEFAULT 0, total REAL NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '', begun_s REAL,
    ended_s REAL
);
"""
# What a catalogue of an earlier version lacks.
ADDED = {2: "ALTER TABLE labels ADD COLUMN xywh TEXT NOT NULL DEFAULT ''"}


class Database:
    """One connection behind a lock, so that any thread may read and write.

    Args:
        path: the file; created if missing.

    Raises:
        DataError: it is not a catalogue, or one of a newer surgvl.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._connection.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
            version = self._version()
            if version == 0:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            # What is removed is gone from the file, too: it may be a patient's.
            self._connection.execute("PRAGMA secure_delete = ON")
            # A commit is on the disk when it returns: some builds of SQLite wait for that only now and then.
            self._connection.execute("PRAGMA synchronous = FULL")
            if 0 < version < VERSION:
                self._renew()
        except sqlite3.Error as error:
            raise DataError(f"{path} is not a catalogue ({error}): check it, or restore a copy") from error
        if version > VERSION:
            self.close()
            raise DataError(f"{path} has catalogue version {version}, this surgvl reads {VERSION}: update surgvl")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _renew(self) -> None:
        """Add what later versions have; another process may do so at the same time."""
        with self.transaction():
            for version in range(self._version() + 1, VERSION + 1):
                self._connection.execute(ADDED[version])
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    @property
    def num_changes(self) -> int:
        """Rows that were changed through this connection."""
        with self._lock:
            return self._connection.total_changes

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none; blocks inside one another are one.

        Raises:
            DataError: the file cannot be written.
        """
        with self._lock:
            if self._is_begun():
                yield
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    # On a full disk, SQLite has rolled back already.
                    if self._is_begun():
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise DataError(f"{self.path} cannot be written ({error}): check disk space and permissions") from error

    def _is_begun(self) -> bool:
        return self._connection.in_transaction

    def execute(self, statement: str, *values: object) -> int:
        """Run one statement, in a transaction; returns the id of the row that it inserted, if it did."""
        with self.transaction():
            return int(self._connection.execute(statement, values).lastrowid or 0)

    def select(self, query: str, *values: object) -> list[Any]:
        """All rows of a query.

        Raises:
            DataError: the file cannot be read.
        """
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise DataError(f"{self.path} cannot be read ({error}): try `surgvl archive verify`") from error

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file, one line each."""
        lines = [str(line) for (line,) in self.select("PRAGMA integrity_check")]
        return [] if lines == ["ok"] else [f"{self.path.name}: {line}" for line in lines]


class Journal(Database):
    """A database whose rows name the change that made them."""

    @contextlib.contextmanager
    def change(self, who: str, what: str, made_s: float | None = None) -> Iterator[int]:
        """A transaction that is one change, which can be undone; yields its id.

        Args:
            who: the person.
            what: what is changed, in words.
            made_s: when, for one that was made elsewhere; now by default.

        Raises:
            ConfigError: `who` is empty.
        """
        if not who.strip():
            raise ConfigError("every change needs the name of the person who makes it, got an empty one: give one")
        with self.transaction():
            at_s = time.time() if made_s is None else made_s
            yield self.execute("INSERT INTO changes (who, made_s, what) VALUES (?, ?, ?)", who, at_s, what)

    def undo(self, who: str) -> str:
        """Undo the last change of a person that is not undone.

        Returns:
            What was undone, in words; empty if there was nothing.
        """
        with self.transaction():
            last = self.select("SELECT id, what FROM valid WHERE who = ? ORDER BY made_s DESC, id DESC LIMIT 1", who)
            if not last:
                return ""
            self.execute("INSERT INTO undone VALUES (?, ?, ?)", last[0][0], who, time.time())
            return str(last[0][1])
