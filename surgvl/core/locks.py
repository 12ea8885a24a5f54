"""One writer of a folder at a time, by a lock that says who holds it.

The lock is the kernel's (`flock`) on a file in the folder. It ends with its process, however that ends, so a file that
a killed process left holds nobody up; threads of one process exclude each other too. Readers take no lock.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from surgvl.core.errors import ConfigError
from surgvl.core.invocation import command_line

# The file of the lock: a folder that holds nothing else counts as empty.
LOCK = ".lock"
_POLL_S = 0.05


@contextlib.contextmanager
def locked(folder: Path | str, wait_s: float = 0.0) -> Iterator[None]:
    """Be the only writer of a folder while the block runs; the folder is made where it is absent.

    Args:
        folder: what is written.
        wait_s: seconds to wait for another writer to end; 0 refuses at once.

    Raises:
        ConfigError: another process or thread still writes there (the line names it), or no file can be made there.
    """
    folder = Path(folder)
    path, deadline = folder / LOCK, time.monotonic() + wait_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (file := _take(path)) is None:
            if time.monotonic() >= deadline:
                raise ConfigError(
                    f"{folder} is being written by {_holder(path)}: wait until that ends, or give another folder"
                )
            time.sleep(_POLL_S)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be locked ({error.strerror}): check the path and its rights") from error
    try:
        yield
    finally:
        # Removed while it is still held: whoever waits on this file finds that it is no longer the folder's.
        path.unlink(missing_ok=True)
        # Said outright, because a forked worker shares the descriptor: closing it here alone would end nothing.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _take(path: Path) -> int | None:
    """Descriptor of the locked file, with the holder's name in it; None where another holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                since = time.strftime("%H:%M:%S")
                name = f"`{command_line()}` (process {os.getpid()} on {socket.gethostname()}, since {since})"
                os.ftruncate(file, 0)
                os.pwrite(file, name.encode(), 0)
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        # The earlier holder removed this file between the two calls: it guards nothing any more.
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    """Who holds a lock, as its file says."""
    with contextlib.suppress(FileNotFoundError):
        if name := path.read_text(encoding="utf-8", errors="replace"):
            return name
    return "another process"
