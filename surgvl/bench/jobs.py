"""Run commands in separate processes, several at a time; a killed run can be resumed.

A job is done when its command exits with status 0, which is recorded at once, or when it has written its result and
then told which videos it set aside. A failed job is reported with the last line of its log, the jobs that need it are
skipped, and the others still run.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SKIPPED = "skipped: "
"""Begins the reason of a job that needs one that failed."""
PROGRAM = (sys.executable, "-m", "surgvl")


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: unique; its log is `logs/NAME.log`.
        argv: arguments after `surgvl`.
        needs: names of jobs that must be done first.
        resumes: whether the command takes --resume.
        writes: the file that the command writes last; commands that set videos aside write it and exit with status 1.
    """

    name: str
    argv: Sequence[str]
    needs: tuple[str, ...] = ()
    resumes: bool = True
    writes: Path | None = None

    @property
    def written(self) -> int:
        """When its last file was written, nanoseconds; 0 if it is not there."""
        return self.writes.stat().st_mtime_ns if self.writes is not None and self.writes.is_file() else 0


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    done: dict[str, float],
    save: Callable[[], None],
    tell: Callable[[str], None],
    workers: int = 2,
    threads: int = 1,
    program: Sequence[str] = PROGRAM,
    set_aside: dict[str, str] | None = None,
) -> dict[str, str]:
    """Run all jobs that are not done yet.

    Args:
        jobs: in the order in which they start, as far as `needs` allows.
        out: folder; logs are written below it.
        done: seconds of each finished job by name; updated in place.
        save: called after each finished job to store `done`.
        tell: prints a line for the user.
        workers: number of jobs at a time.
        threads: cores per job.
        program: command that precedes the arguments of a job.
        set_aside: takes the last line of each job that is done without some videos, by name.

    Returns:
        Reason of each job that is not done, by name; empty if all are done.
    """
    names = {job.name for job in jobs}
    assert all(name in names for job in jobs for name in job.needs)
    waiting = [job for job in jobs if job.name not in done]
    running: dict[str, tuple[Job, subprocess.Popen[bytes], float, int]] = {}
    failed: dict[str, str] = {}
    locked: set[str] = set()
    try:
        while waiting or running:
            for job in list(waiting):
                if broken := next((name for name in job.needs if name in failed), ""):
                    failed[job.name] = f"{SKIPPED}it needs {broken}"
                    waiting.remove(job)
                elif len(running) < workers and all(name in done for name in job.needs):
                    before = job.written
                    process = _start(job, out, threads, program)
                    if process is not None:
                        running[job.name] = (job, process, time.monotonic(), before)
                        waiting.remove(job)
                    elif job.name not in locked:
                        locked.add(job.name)
                        tell(f"{job.name} is still being run by a killed benchmark: waiting for it")
            for name, (job, process, begun, before) in list(running.items()):
                if (status := process.poll()) is None:
                    continue
                del running[name]
                seconds = time.monotonic() - begun
                partly = status == 1 and job.written != before
                if partly and set_aside is not None:
                    set_aside[name] = last_line(_log(out, job))
                    tell(f"{name}: {set_aside[name]}")
                if status == 0 or partly:
                    done[name] = round(seconds, 1)
                    save()
                    left = sum(each.name not in done for each in jobs)
                    tell(f"{name}: {seconds:.0f} s; {left} of {len(jobs)} jobs left")
                else:
                    failed[name] = f"status {status}: {last_line(_log(out, job))}"
                    tell(f"{name} failed, {failed[name]}")
            time.sleep(0.05)
    finally:
        processes = [process for _, process, *_ in running.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    return failed


def last_line(log: Path) -> str:
    """The last line of a log that is not blank."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "(no output)")


def _log(out: Path, job: Job) -> Path:
    return out / "logs" / f"{job.name}.log"


def _start(job: Job, out: Path, threads: int, program: Sequence[str]) -> "subprocess.Popen[bytes] | None":
    """Start a job; None while another process holds the lock on its log.

    The lock belongs to the open log, which the job keeps as its output, so it lasts exactly as long as the job.
    """
    path = _log(out, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as log:
        if not _locked(log):
            return None
        argv = [*program, *job.argv, *(["--resume=true"] if job.resumes else [])]
        log.write(f"$ {' '.join(argv[len(program) :])}\n".encode())
        log.flush()
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment(threads)
        )


def _locked(log: IO[bytes]) -> bool:
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment(threads: int) -> Mapping[str, str]:
    # By default glibc returns freed memory at once; faulting it in again takes a small model a tenth of a step.
    keep = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
    return {**keep, **os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
