"""Processes of tests that are forks of one which has imported everything: imports take longer than short work.

A worker of the suite has one such process at most, with the modules of whoever starts it first, so all take this one.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

import surgvl.chat.tune  # noqa: F401
import surgvl.cli.help  # noqa: F401
import surgvl.commands.align  # noqa: F401
import surgvl.commands.eval  # noqa: F401
import surgvl.commands.pretrain  # noqa: F401
import surgvl.commands.probe  # noqa: F401
import surgvl.commands.suite  # noqa: F401
import surgvl.commands.tune  # noqa: F401
import surgvl.models.checkpoint  # noqa: F401 (with all kinds of models)
import surgvl.train.loop  # noqa: F401
from surgvl.cli import main as cli

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


def start(argv: list[str], log: Path, **environment: str) -> BaseProcess:
    """A command as a process of its own, whose output goes to a file; as from a terminal, SIGINT interrupts it."""
    process = PROCESSES.Process(target=_run, args=(argv, log, environment))
    process.start()
    return process


def _run(argv: list[str], log: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    # The forks' parent may have asked for it already.
    tempfile.tempdir = None
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(cli.main(argv))
