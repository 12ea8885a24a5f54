"""The version of surgvl and the commit of the checkout that it runs from."""

import contextlib
import functools
import subprocess
from pathlib import Path

__version__ = "0.1.0"


@functools.cache
def commit() -> str:
    """The checkout's commit, with `-dirty` if tracked files differ; `unknown` outside a checkout.

    As it is when a process first asks: what it has imported stays as it was.
    """
    root = Path(__file__).resolve().parent.parent.parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        call = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return "unknown"
