"""A small process between the server and an engine, so that no process of an engine outlives either of them.

It starts the engine in a process group of its own and watches its own standard input, whose other end only the server
holds. When that closes, because the server stops the engine, was killed or crashed, the engine gets SIGTERM. However
the engine ends, the rest of its group is ended too: vLLM's children (engine core, workers) survive a killed parent.

    python -m surgvl.serve.supervisor GRACE_S COMMAND...
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.1
# Given to the rest of a process group to end by itself.
CLEANUP_S = 3.0


def supervise(command: list[str], grace_s: float) -> int:
    """Run a command until it ends or standard input closes.

    Args:
        command: program and arguments.
        grace_s: from SIGTERM to SIGKILL, seconds.

    Returns:
        Its exit status; 128 + n if signal n ended it, as shells report it.
    """
    engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        while engine.poll() is None:
            # Nothing is ever written to it, so it becomes readable when it closes.
            if select.select([0], [], [], POLL_S)[0]:
                engine.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    engine.wait(grace_s)
                break
    finally:
        _end_group(engine)
    status = engine.wait()
    return status if status >= 0 else 128 - status


def _end_group(engine: "subprocess.Popen[bytes]") -> None:
    """End the engine's process group: by SIGTERM, then SIGKILL, the resource tracker last."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGTERM)
        _wait_for_group(engine)
        for pid in _group_members(engine.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait_for_group(engine)
        os.killpg(engine.pid, signal.SIGKILL)


def _wait_for_group(engine: "subprocess.Popen[bytes]") -> None:
    """Wait a few seconds for the group to end.

    Raises:
        ProcessLookupError: it has ended.
    """
    deadline = time.monotonic() + CLEANUP_S
    while time.monotonic() < deadline:
        # A zombie belongs to the group until it is waited for.
        engine.poll()
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


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[2:], float(sys.argv[1])))
