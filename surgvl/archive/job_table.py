"""Jobs: long work that was asked for, how far it is, and how it ended."""

import json
import time
from collections.abc import Sequence

from surgvl.archive.database import Database
from surgvl.archive.records import Job, JobState
from surgvl.core.errors import DataError

_COLUMNS = "id, kind, what, state, done, total, problem, begun_s, ended_s"


class JobTable:
    """The jobs of a catalogue.

    Args:
        database: the catalogue.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: str, what: object) -> int:
        """Ask for work, which waits. Returns its id.

        Args:
            kind: such as `add`.
            what: its arguments, a JSON value.
        """
        return self._database.execute(
            "INSERT INTO jobs (kind, what, state) VALUES (?, ?, 'waiting')", kind, json.dumps(what)
        )

    def get(self, id: int) -> Job:
        """One job.

        Raises:
            DataError: there is no such job.
        """
        if found := self._jobs("WHERE id = ?", id):
            return found[0]
        raise DataError(f"the archive has no job {id}")

    def list(self) -> Sequence[Job]:
        """All jobs, the newest first."""
        return self._jobs("ORDER BY id DESC")

    def first_waiting(self) -> Job | None:
        """The job that waits longest, if one does."""
        return next(iter(self._jobs("WHERE state = 'waiting' ORDER BY id LIMIT 1")), None)

    def has_unfinished(self) -> bool:
        """Whether a job waits or runs."""
        return bool(self._jobs("WHERE state IN ('waiting', 'running') LIMIT 1"))

    def begin(self, id: int) -> None:
        """Say that a job runs."""
        self._database.execute(
            "UPDATE jobs SET state = 'running', begun_s = ?, ended_s = NULL, problem = '' WHERE id = ?", time.time(), id
        )

    def progress(self, id: int, done: float, total: float) -> None:
        """Say how far a job is."""
        self._database.execute("UPDATE jobs SET done = ?, total = ? WHERE id = ?", done, total, id)

    def end(self, id: int, state: JobState, problem: str = "") -> None:
        """Say how a job ended; `waiting` puts it back into the queue."""
        ended_s = None if state == "waiting" else time.time()
        self._database.execute(
            "UPDATE jobs SET state = ?, problem = ?, ended_s = ? WHERE id = ?", state, problem, ended_s, id
        )

    def requeue(self) -> None:
        """Let jobs wait again that a killed process ran; call it where no other process runs any."""
        self._database.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")

    def _jobs(self, where: str, *values: object) -> Sequence[Job]:
        rows = self._database.select(f"SELECT {_COLUMNS} FROM jobs {where}", *values)
        return [Job(row[0], row[1], json.loads(row[2]), *row[3:]) for row in rows]
