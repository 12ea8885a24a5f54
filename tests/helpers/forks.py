"""Processes of tests that are forks of the test's own, which has imported everything: that takes longer than work."""

import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from multiprocessing.process import BaseProcess
from pathlib import Path

from surgvl.cli import main as cli

PROCESSES = multiprocessing.get_context("fork")


def start(argv: list[str], log: Path, **environment: str) -> BaseProcess:
    """A command as a process of its own, whose output goes to a file; as from a terminal, SIGINT interrupts it."""
    process = PROCESSES.Process(target=_run, args=(argv, log, environment))
    process.start()
    return process


def _run(argv: list[str], log: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    # The test may have asked for it already.
    tempfile.tempdir = None
    as_users_do(log)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(cli.main(argv))


def as_users_do(log: Path) -> None:
    """Write to a file what pytest would capture, and let warnings be no errors."""
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    # Libraries warn of what their own next versions do.
    warnings.simplefilter("ignore")
