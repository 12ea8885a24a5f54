"""A command that is killed in the middle of its work, in a fork of the test's own process."""

import os
import signal
import time
from collections.abc import Callable, Iterator

from surgvl.cli import main as cli
from surgvl.train.samples import StepSampler
from tests.helpers.forks import PROCESSES
from tests.helpers.small_language import small_language


def run_killed(argv: list[str], step: int) -> None:
    """Run a command until the samples of a step are asked for, where SIGKILL ends its process."""
    process = PROCESSES.Process(target=_run, args=(argv, step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def run_killed_when(argv: list[str], reached: Callable[[], bool]) -> None:
    """Run a command until something is reached, when SIGKILL ends its process and all that it started."""
    process = PROCESSES.Process(target=_run_in_a_group, args=(argv,))
    process.start()
    while not reached() and process.is_alive():
        time.sleep(0.01)
    assert process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _run_in_a_group(argv: list[str]) -> None:
    os.setsid()
    cli.run(argv)


def _run(argv: list[str], step: int) -> None:
    samples = StepSampler.__iter__

    def until(self: StepSampler) -> Iterator[list[int]]:
        for number, batch in enumerate(samples(self)):
            if number == step:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    StepSampler.__iter__ = until  # type: ignore[method-assign]
    with small_language():
        cli.run(argv)
