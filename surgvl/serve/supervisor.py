"""The server's side of the process that starts engines and lets none of them outlive the server (`supervise`)."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from surgvl.serve.supervise import CLEANUP_S, ENGINE_ASKED, GRACE_S

# From the moment when an engine is told to stop until its supervisor must have ended it.
STOP_S = GRACE_S + 2 * CLEANUP_S + 3


class SupervisedEngine:
    """An engine that was asked for.

    Args:
        life: a socket; while it is open, the engine may run.
    """

    def __init__(self, life: socket.socket) -> None:
        self._life = life
        self._status: int | None = None

    def exit_status(self, limit_s: float = 0) -> int | None:
        """Exit status once it has ended, 128 + n if signal n ended it; None if it still runs after some seconds."""
        if self._status is None and self._life.fileno() >= 0:
            self._life.settimeout(limit_s)
            with contextlib.suppress(BlockingIOError, TimeoutError):
                # Nothing is said where the supervisor itself was killed.
                self._status = int(self._life.recv(16) or 128 + signal.SIGKILL)
                self._life.close()
        return self._status

    def stop(self) -> None:
        """End it with all its children; takes a few seconds."""
        with contextlib.suppress(OSError):
            self._life.shutdown(socket.SHUT_WR)
        self.exit_status(STOP_S)
        self._life.close()


class Supervisor:
    """The process that starts engines; it is started with the first of them.

    Args:
        asking: the socket by which one that is there is asked.
    """

    def __init__(self, asking: socket.socket | None = None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = asking

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], log: IO[bytes], fork: bool
    ) -> SupervisedEngine:
        """Start an engine.

        Args:
            words: a module and its arguments.
            environment: its environment variables.
            log: receives what it says.
            fork: it is a fork of a process that has imported vLLM, which nothing but a CPU has seen.
        """
        if self._asking is not None and self._process is not None and self._process.poll() is not None:
            self._asking.close()
            self._asking = None
        if self._asking is None:
            self._process, self._asking = launch(environment, log)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = {"words": list(words), "environment": dict(environment), "fork": fork}
        # In memory, not in the message: Linux lets a program have megabytes of environment, and a message 200 kB.
        with theirs, os.fdopen(os.memfd_create("request"), "wb") as request:
            request.write(json.dumps(asked).encode())
            request.flush()
            socket.send_fds(self._asking, [ENGINE_ASKED], [request.fileno(), theirs.fileno(), log.fileno()])
        return SupervisedEngine(ours)

    def ask_no_more(self) -> None:
        """Let it end with its engines; at once if it is still to start them."""
        if self._asking is not None:
            self._asking.close()
        if self._process is not None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def launch(environment: Mapping[str, str], log: IO[bytes] | None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process.

    Args:
        environment: its environment variables.
        log: receives what it says.

    Returns:
        It, and the socket by which it is asked.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-m", "surgvl.serve.supervise"]
    with theirs:
        process = subprocess.Popen(
            argv, stdin=theirs.fileno(), stdout=log, stderr=log, env=dict(environment), start_new_session=True
        )
    return process, ours
