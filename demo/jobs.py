"""Long work on an archive, one job after the other in one thread: add, update, remove, reindex.

Jobs lie in the catalogue. One that is interrupted, because the page ends or the process is killed, waits there and goes
on at the next start: adding skips what is done already. Of several pages of an archive one at a time does jobs, which a
lock decides; the others wait for it, and go on where it was killed.
"""

import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgvl.archive.archive import Archive
from surgvl.archive.records import Job, Progress, Report
from surgvl.core.errors import ConfigError, DataError, SurgVLError
from surgvl.core.locks import locked
from surgvl.core.plurals import plural
from surgvl.demo.events import Events
from surgvl.demo.formatting import without_folders

KINDS = ("add", "update", "remove", "reindex")
# Folder of the lock of the page that does jobs.
LOCK = ".jobs"
# Where it cannot be taken.
RETRY_S = 5.0
# Between two entries in the catalogue, and two events.
PAUSE_S = 0.5
# For a command that writes to the same archive.
WAIT_S = 3600.0


@dataclass
class _Running:
    """The job that runs."""

    job: Job
    begun: float
    stop: bool = False
    is_cancelled: bool = False
    told: float = 0.0
    done_at_first: float = -1.0
    # Of none yet, so that the first progress, that all are registered, is told.
    recording: tuple[str, int] = ("", -1)
    before_s: float = 0.0
    done_s: float = 0.0


class JobWorker:
    """The thread that does the jobs of an archive.

    Args:
        archive: the archive.
        events: receives each change.
        changed: called whenever recordings may have changed.
    """

    def __init__(self, archive: Archive, events: Events, changed: Callable[[], None] = lambda: None) -> None:
        self._archive, self._events, self._changed = archive, events, changed
        self._table = archive.catalogue.jobs
        self._lock = archive.folder / LOCK
        self._wake = threading.Condition()
        self._telling = threading.Lock()
        self._running: _Running | None = None
        self._ends = False
        self._rates: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, name="surgvl-jobs", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the clip that is being embedded; the job waits for the next start."""
        with self._wake:
            self._ends = True
            if self._running:
                self._running.stop = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    # ---- asked by the page

    def add(self, kind: str, what: Mapping[str, Any]) -> int:
        """Ask for work; see `KINDS`. Returns the job's id."""
        assert kind in KINDS
        job = self._table.add(kind, dict(what))
        self._tell()
        with self._wake:
            self._wake.notify_all()
        return job

    def cancel(self, id: int) -> None:
        """End a job; what it has done stays.

        Raises:
            DataError: no such job.
            ConfigError: it has ended.
        """
        with self._wake:
            job = self._table.get(id)
            if self._running and self._running.job.id == id:
                self._running.stop = self._running.is_cancelled = True
            elif job.state == "waiting":
                self._table.end(id, "cancelled")
            elif job.state == "running":
                raise ConfigError(f"job {id} is done by another page of this archive: cancel it there")
            else:
                raise ConfigError(f"job {id} is {job.state} already")
        self._tell()

    def resume(self, id: int) -> None:
        """Let a job that was cancelled, or failed, wait again.

        Raises:
            DataError: no such job.
            ConfigError: it waits, runs, or is done.
        """
        with self._wake:
            job = self._table.get(id)
            if job.state not in ("cancelled", "failed"):
                raise ConfigError(f"job {id} is {job.state}: only a cancelled or failed one can go on")
            self._table.end(id, "waiting")
            self._wake.notify_all()
        self._tell()

    def list(self, most: int = 30) -> list[dict[str, Any]]:
        """The newest jobs, as the page shows them."""
        return [self._shown(job) for job in self._table.list()[:most]]

    def progress_of(self, recording: str, duration_s: float) -> float | None:
        """Which share of a recording is embedded, 0 to 1; None while it is not worked on."""
        with self._wake:
            running = self._running
        if running is None or running.recording[0] != recording or duration_s <= 0:
            return None
        return min(1.0, max(0.0, (running.done_s - running.before_s) / duration_s))

    def _shown(self, job: Job) -> dict[str, Any]:
        rate = self._rates.get(job.id, 0.0)
        is_timed = job.state == "running" and rate > 0 and job.total > job.done
        return {
            "id": job.id,
            "kind": job.kind,
            "title": title(job),
            "state": job.state,
            "done": job.done,
            "total": job.total,
            "unit": "s",
            "problem": without_folders(job.problem),
            "remaining_s": (job.total - job.done) / rate if is_timed else None,
            "begun_s": job.begun_s,
            "ended_s": job.ended_s,
        }

    def _tell(self) -> None:
        # What was read last is told last: a request and the thread may tell at once.
        with self._telling:
            self._events.publish("jobs", self.list())

    # ---- the thread

    def _run(self) -> None:
        while self._waits_for_work():
            try:
                # The page that holds this lock is the only one that does jobs.
                with locked(self._lock, math.inf, lambda: self._ends):
                    # So what is said to run was left by a killed process.
                    self._table.requeue()
                    running = self._next()
                    if running is None:
                        # Another page has done it.
                        self._tell_all()
                    while running:
                        self._finish(running)
                        running = self._next()
            except ConfigError:
                # The page ends, or the folder cannot be written.
                with self._wake:
                    self._wake.wait_for(lambda: self._ends, RETRY_S)

    def _waits_for_work(self) -> bool:
        """Wait until there is work, also another page's; False once the page ends."""
        with self._wake:
            while not self._ends and not self._table.has_unfinished():
                self._wake.wait()
            return not self._ends

    def _next(self) -> _Running | None:
        """Begin the job that waits longest, if one does."""
        with self._wake:
            job = None if self._ends else self._table.first_waiting()
            if job is None:
                return None
            self._running = running = _Running(job, time.monotonic())
            self._table.begin(job.id)
        self._tell()
        return running

    def _finish(self, running: _Running) -> None:
        """Do a job to its end, and say how it ended."""
        job = running.job
        problem, is_failed = "", False
        try:
            problem = self._do(job, running)
        except Exception as error:
            # Whatever is raised, such as by torch where memory runs out, must not end the thread: other jobs wait.
            problem, is_failed = str(error).partition("\n")[0] or type(error).__name__, True
            if not isinstance(error, SurgVLError | OSError | RuntimeError):
                # A fault of the program, of which the page's one line would hide the place.
                traceback.print_exc()
        with self._wake:
            self._running = None
            if running.is_cancelled:
                self._table.end(job.id, "cancelled")
            elif running.stop:
                self._table.end(job.id, "waiting")
            else:
                self._table.end(job.id, "failed" if is_failed else "done", problem)
        self._tell_all()

    def _tell_all(self) -> None:
        self._changed()
        self._tell()
        self._events.publish("recordings")

    def _do(self, job: Job, running: _Running) -> str:
        """Do a job; a line if a part of it was left out."""
        assert isinstance(job.what, dict)
        what = job.what

        def tick(progress: Progress) -> None:
            self._progress(running, progress)

        def should_stop() -> bool:
            return running.stop

        if job.kind == "add":
            # A few clips of each at first, so that the first search need not wait for all.
            paths, coarse = [Path(each) for each in what["paths"]], bool(what.get("coarse", True))
            return aside(self._archive.add(paths, tick=tick, should_stop=should_stop, coarse=coarse, wait_s=WAIT_S))
        if job.kind == "update":
            return aside(self._archive.update(tick=tick, should_stop=should_stop, wait_s=WAIT_S))
        if job.kind == "remove":
            self._archive.remove(what["ids"], should_stop=should_stop, wait_s=WAIT_S)
            return ""
        if job.kind == "reindex":
            return aside(self._archive.reindex(what["model"], tick=tick, should_stop=should_stop, wait_s=WAIT_S))
        raise DataError(f"job {job.id} is of the kind {job.kind!r}, which this version does not know")

    def _progress(self, running: _Running, progress: Progress) -> None:
        now = time.monotonic()
        running.done_s = progress.done_s
        if running.done_at_first < 0:
            running.done_at_first, running.begun = progress.done_s, now
        at = (progress.recording_id, progress.num_done)
        if at != running.recording:
            # The one before is embedded, or all are known.
            running.recording, running.before_s = at, progress.done_s
            if progress.recording_id:
                self._changed()
            self._events.publish("recordings")
        if now - running.told < PAUSE_S and progress.done_s < progress.total_s:
            return
        running.told = now
        if now > running.begun:
            self._rates[running.job.id] = (progress.done_s - running.done_at_first) / (now - running.begun)
        self._table.progress(running.job.id, progress.done_s, progress.total_s)
        self._tell()


def title(job: Job) -> str:
    """What a job does, in words; file names without folders."""
    what = job.what if isinstance(job.what, dict) else {}
    if job.kind == "add":
        names = [Path(each).name for each in what.get("paths", [])]
        return f"Add {names[0]}" if len(names) == 1 else f"Add {plural(len(names), 'file')}"
    if job.kind == "remove":
        ids = what.get("ids", [])
        return f"Remove {ids[0]}" if len(ids) == 1 else f"Remove {plural(len(ids), 'recording')}"
    if job.kind == "reindex":
        return f"Embed with {without_folders(str(what.get('model', '')))}"
    return {"update": "Embed what has changed"}.get(job.kind, job.kind)


def aside(report: Report) -> str:
    """The files that were set aside, in a line."""
    if not report.aside:
        return ""
    first = next(iter(report.aside.values()))
    more = f" (and {len(report.aside) - 1} more)" if len(report.aside) > 1 else ""
    return f"{plural(len(report.aside), 'file')} set aside: {first}{more}"
