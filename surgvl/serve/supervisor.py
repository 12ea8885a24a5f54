"""A small process between the launcher and an engine, so that nothing of an engine outlives it or the launcher.

It starts the engine in a process group of its own, and reads its standard input, whose other end the launcher alone
holds: when that closes, because the launcher stops the engine, was killed or crashed, the engine gets SIGTERM. However
the engine ends, what is left of its group is ended too: vLLM's children (engine core, workers) live on when the one
above them is killed.

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

LOOK_S = 0.1
# For what is left to end by itself.
LEFT_S = 3.0


def keep(command: list[str], grace_s: float) -> int:
    """Run a command until it ends or standard input closes.

    Args:
        command: its words.
        grace_s: from SIGTERM to SIGKILL, seconds.

    Returns:
        Its exit status; 128 + n where signal n ended it, as shells say it.
    """
    engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        while engine.poll() is None:
            # Nothing is ever written to it: it is readable when it is closed.
            if select.select([0], [], [], LOOK_S)[0]:
                engine.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    engine.wait(grace_s)
                break
    finally:
        _clear(engine)
    status = engine.wait()
    return status if status >= 0 else 128 - status


def _clear(engine: "subprocess.Popen[bytes]") -> None:
    """End what is left of the engine's group: by SIGTERM, then by SIGKILL, and last the one that sweeps up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGTERM)
        _wait(engine)
        for pid in _members(engine.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait(engine)
        os.killpg(engine.pid, signal.SIGKILL)


def _wait(engine: "subprocess.Popen[bytes]") -> None:
    """Give the group some seconds.

    Raises:
        ProcessLookupError: it is empty.
    """
    until = time.monotonic() + LEFT_S
    while time.monotonic() < until:
        # An engine that has ended counts until it is waited for.
        engine.poll()
        os.killpg(engine.pid, 0)
        time.sleep(LOOK_S)


def _members(group: int) -> list[int]:
    """Processes of a group, without Python's resource tracker: it removes shared memory when all others have ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ProcessLookupError):
            # After the name in brackets: state, parent, group (proc(5)).
            belongs = (folder / "stat").read_text().rpartition(")")[2].split()[2] == str(group)
            if belongs and b"resource_tracker" not in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


if __name__ == "__main__":
    sys.exit(keep(sys.argv[2:], float(sys.argv[1])))
