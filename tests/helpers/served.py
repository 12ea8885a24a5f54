"""A running `surgvl serve`, and what belongs to it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from surgvl.cli import main as cli


class Served:
    """The command as a process.

    Args:
        words: after `surgvl serve`.
        asking: by which a process that starts its engines is asked (`vllm_forks`).
        fork: it is a fork of this process, which imports the command once for all.
        env: environment variables, in addition to those of this process.
    """

    def __init__(
        self, *words: str, asking: socket.socket | None = None, fork: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        command = ["surgvl", "serve"] if asking is None else ["tests.helpers.serve_with", str(asking.fileno())]
        if fork:
            # With all that it imports.
            import surgvl.cli.help
            import surgvl.commands.serve  # noqa: F401
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, *words],
            preexec_fn=partial(_serve, words, env or {}) if fork else None,
            pass_fds=() if asking is None else (asking.fileno(),),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.said = ""

    def until(self, words: str) -> str:
        """Read what it says until some words."""
        assert self.process.stdout is not None
        while words not in self.said:
            line = self.process.stdout.readline()
            assert line or self.process.poll() is None, self.said + self.errors()
            self.said += line
        return self.said

    @property
    def url(self) -> str:
        """Its address, once it is ready."""
        found = re.search(r"at (http://127\.0\.0\.1:\d+)/v1", self.until("Ctrl-C"))
        assert found
        return found[1]

    def errors(self) -> str:
        """What it says on standard error, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def end(self, number: int = signal.SIGINT) -> int:
        """Its exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(300)

    def drop(self) -> None:
        """End it whatever it does; what it said on standard error is of use where a test fails."""
        self.process.kill()
        print(self.process.communicate()[1])


def _serve(words: Sequence[str], env: Mapping[str, str]) -> None:
    """Run the command in place of the program that was to follow."""
    # What this process has opened, and the pipe by which `Popen` learns that a program has begun.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    status = 1
    try:
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        warnings.simplefilter("ignore")
        os.environ.update(env)
        tempfile.tempdir = None
        status = cli.main(["serve", *words])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def gone(pids: list[int], limit_s: float = 120.0) -> bool:
    """Whether processes end in time."""
    until = time.monotonic() + limit_s
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


def words_of(pid: int) -> str:
    """Its command line, or the name that it took; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def below(pid: int) -> list[int]:
    """All processes that a process started, and theirs."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # After the name in brackets: state, parent (proc(5)).
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]
