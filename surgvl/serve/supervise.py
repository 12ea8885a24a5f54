"""A small process between the server and its engines, so that no process of an engine outlives either of them.

    python -m surgvl.serve.supervise

Its standard input is a socket, by which the server asks for engines (`Supervisor`). For each it forks itself, and this
fork starts the engine in a process group of its own and watches a socket whose other end only the server holds. When
that closes, because the server stops the engine, was killed or crashed, the engine gets SIGTERM. However the engine
ends, the rest of its group is ended too: vLLM's children (engine core, workers) survive a killed parent. Where the fork
itself is killed, its engine gets SIGTERM, too.

Without a GPU, the engines are forks, too, of a process that has imported vLLM: importing it takes longer than all else
that an engine does until it answers.
"""

import atexit
import contextlib
import ctypes
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surgvl.core.errors import ServerError

POLL_S = 0.1
# From SIGTERM to SIGKILL.
GRACE_S = 8.0
# Given to the rest of a process group to end by itself.
CLEANUP_S = 3.0
# The message that asks for an engine, with three files: the request, the socket that it lives by, and its log.
ENGINE_ASKED = b"engine"
# Of prctl(2): the signal for a process whose parent ends.
PR_SET_PDEATHSIG = 1


class Child:
    """A child process.

    Attributes:
        pid: its number.
        status: its exit status; negative where a signal ended it, and None while it runs.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None

    def has_ended(self) -> bool:
        """Whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None


def supervise(engine: Child, life: int) -> int:
    """Watch an engine until it ends or the other end of a socket closes; then end its process group.

    Args:
        engine: the first of the group.
        life: the socket.

    Returns:
        Its exit status; 128 + n if signal n ended it, as shells report it.
    """
    try:
        while not engine.has_ended():
            # Nothing is ever written to it, so it becomes readable when it closes.
            if select.select([life], [], [], POLL_S)[0]:
                os.kill(engine.pid, signal.SIGTERM)
                until_s = time.monotonic() + GRACE_S
                while not engine.has_ended() and time.monotonic() < until_s:
                    time.sleep(POLL_S)
                break
    finally:
        _end_group(engine)
    while not engine.has_ended():
        time.sleep(POLL_S)
    status = engine.status or 0
    return status if status >= 0 else 128 - status


def _end_group(engine: Child) -> None:
    """End the engine's process group: by SIGTERM, then SIGKILL, the resource tracker last."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGTERM)
        _wait_for_group(engine)
        for pid in _group_members(engine.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait_for_group(engine)
        os.killpg(engine.pid, signal.SIGKILL)


def _wait_for_group(engine: Child) -> None:
    """Wait a few seconds for the group to end.

    Raises:
        ProcessLookupError: it has ended.
    """
    deadline = time.monotonic() + CLEANUP_S
    while time.monotonic() < deadline:
        # A zombie belongs to the group until it is waited for.
        engine.has_ended()
        os.killpg(engine.pid, 0)
        time.sleep(POLL_S)


def _group_members(group: int) -> list[int]:
    """Processes of a group except Python's resource tracker, which frees shared memory once all others have ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ProcessLookupError):
            # After the name in brackets: state, parent, group (proc(5)).
            belongs = (folder / "stat").read_text().rpartition(")")[2].split()[2] == str(group)
            if belongs and b"resource_tracker" not in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def main() -> str:
    """Start what is asked for until nobody can ask any more.

    Returns:
        The module that this process, which is a fork, is to run as `__main__`; empty where it is none.
    """
    asked = socket.fromfd(0, socket.AF_UNIX, socket.SOCK_SEQPACKET)
    while True:
        message, files, *_ = socket.recv_fds(asked, len(ENGINE_ASKED), 3)
        if not message:
            break
        with os.fdopen(files.pop(0), "rb") as written:
            written.seek(0)
            request = json.load(written)
        if request["fork"]:
            _import_vllm()
        if not os.fork():
            asked.close()
            return _begin(request, *files)
        for each in files:
            os.close(each)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return ""


def _import_vllm() -> None:
    from surgvl.serve.import_vllm import import_vllm

    # An engine says the same in its own log.
    with contextlib.suppress(ServerError):
        import_vllm()
    # Until here it ends this process, which does not look whether anybody waits.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _begin(request: Mapping[str, Any], life: int, log: int) -> str:
    """In a fork: supervise another one, in which this returns what is to be run."""
    words = request["words"]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _show(["surgvl.serve.supervise", *words])
    supervisor = os.getpid()
    engine = os.fork()
    if engine:
        status = 1
        try:
            # Whoever of both comes first: the group is there before anybody is signalled.
            with contextlib.suppress(OSError):
                os.setpgid(engine, engine)
            status = supervise(Child(engine), life)
        finally:
            with contextlib.suppress(OSError):
                os.write(life, str(status).encode())
            os._exit(0)
    os.setpgid(0, 0)
    os.close(life)
    # Where its supervisor is killed, nobody else would end it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        os._exit(1)
    if not request["fork"]:
        os.execve(sys.executable, [sys.executable, "-m", *words], request["environment"])
    _show(words)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = words
    return str(words[0])


def _show(words: list[str]) -> None:
    """Be seen in lists of processes as a module with its words, where the package is there that vLLM uses for this."""
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(" ".join((sys.executable, "-m", *words)))


if __name__ == "__main__":
    if module := main():
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    # An interpreter that ends by itself frees half a million objects one by one, for seconds.
    os._exit(0)
