"""Runs a list of commands in processes of their own, several at a time; goes on where a killed one was.

A job is done when its command left with status 0; that is written down at once. A job whose command fails is listed
with the last line of its log, those that need it are left out, and the rest goes on.
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

PROGRAM = (sys.executable, "-m", "surgvl")


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: unique; its log is `logs/NAME.log`.
        argv: words after `surgvl`.
        needs: names of jobs that must be done before.
        resumes: the command takes --resume.
    """

    name: str
    argv: Sequence[str]
    needs: tuple[str, ...] = ()
    resumes: bool = True


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    done: dict[str, float],
    save: Callable[[], None],
    tell: Callable[[str], None],
    workers: int = 2,
    threads: int = 1,
    program: Sequence[str] = PROGRAM,
) -> dict[str, str]:
    """Run all jobs that are not done yet.

    Args:
        jobs: in the order in which they start, as far as their needs allow.
        out: folder; logs are written below it.
        done: seconds of each job that is done, by name; added to.
        save: called after each job that ended well, to keep `done`.
        tell: takes a line for the user.
        workers: jobs at a time.
        threads: cores of a job.
        program: what is put in front of a job's words.

    Returns:
        Why a job is not done, by name; empty when all are.
    """
    names = {job.name for job in jobs}
    assert all(name in names for job in jobs for name in job.needs)
    waiting = [job for job in jobs if job.name not in done]
    running: dict[str, tuple[Job, subprocess.Popen[bytes], float]] = {}
    failed: dict[str, str] = {}
    held: set[str] = set()
    try:
        while waiting or running:
            for job in list(waiting):
                if broken := next((name for name in job.needs if name in failed), ""):
                    failed[job.name] = f"left out: it needs {broken}"
                    waiting.remove(job)
                elif len(running) < workers and all(name in done for name in job.needs):
                    process = _start(job, out, threads, program)
                    if process is not None:
                        running[job.name] = (job, process, time.monotonic())
                        waiting.remove(job)
                    elif job.name not in held:
                        held.add(job.name)
                        tell(f"{job.name} is still being run by a benchmark that was killed: waiting for it")
            for name, (job, process, begun) in list(running.items()):
                if (status := process.poll()) is None:
                    continue
                del running[name]
                seconds = time.monotonic() - begun
                if status == 0:
                    done[name] = round(seconds, 1)
                    save()
                    left = sum(each.name not in done for each in jobs)
                    tell(f"{name}: {seconds:.0f} s; {left} of {len(jobs)} jobs to go")
                else:
                    failed[name] = f"status {status}: {last_line(_log(out, job))}"
                    tell(f"{name} failed, {failed[name]}")
            time.sleep(0.05)
    finally:
        for _, process, _ in running.values():
            process.terminate()
        for _, process, _ in running.values():
            process.wait()
    return failed


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "(no output)")


def _log(out: Path, job: Job) -> Path:
    return out / "logs" / f"{job.name}.log"


def _start(job: Job, out: Path, threads: int, program: Sequence[str]) -> "subprocess.Popen[bytes] | None":
    """Start a job; None while another process still has its log.

    The lock belongs to the open log, which the job holds as its output: it lasts as long as the job, whoever is killed.
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
    # glibc gives freed memory back at once, and the next step of a small model faults it in again: a tenth of its time.
    keep = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
    return {**keep, **os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
