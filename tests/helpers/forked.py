"""`subprocess.Popen` of a Python module stands here as a fork of this process, which has imported everything.

In processes of `forks`, which have one thread: others would not be in their forks, which would wait for them.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from typing import IO


class Forked:
    """`python -m MODULE WORDS`, its output in a file if one is given."""

    def __init__(
        self,
        command: list[str],
        env: Mapping[str, str],
        cwd: None = None,
        stdin: int | None = None,
        stdout: IO[bytes] | None = None,
        stderr: int | None = None,
    ):
        assert command[:2] == [sys.executable, "-m"]
        self.process = multiprocessing.get_context("fork").Process(target=_run, args=(command[2:], env, stdout))
        self.process.start()

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> None:
        self.process.join()

    def terminate(self) -> None:
        self.process.terminate()

    def send_signal(self, number: int) -> None:
        assert self.pid
        os.kill(self.pid, number)


def _run(argv: list[str], environment: Mapping[str, str], output: IO[bytes] | None) -> None:
    if output is not None:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_module(argv, environment)


def run_module(argv: list[str], environment: Mapping[str, str]) -> None:
    """`python -m MODULE WORDS` in this process."""
    kept = dict(environment)
    os.environ.clear()
    os.environ.update(kept)
    sys.argv = argv
    # As in a new process, where it is not there yet.
    sys.modules.pop(argv[0], None)
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
