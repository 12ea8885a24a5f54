"""One writer per folder at a time, by a lock that tells who holds it.

The lock is the kernel's (`flock`), on a file in the folder. It is released when its process ends, however that ends, so
the lock file of a killed process blocks nobody; threads of one process exclude each other, too. Readers take no lock.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from surgvl.core.errors import Busy, ConfigError
from surgvl.core.invocation import command_line

# The lock file; a folder that contains nothing else counts as empty.
LOCK = ".lock"
_POLL_S = 0.05


@contextlib.contextmanager
def locked(folder: Path | str, wait_s: float = 0.0, should_stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Be the only writer of a folder while the block runs; the folder is created if necessary.

    Args:
        folder: the folder.
        wait_s: seconds to wait for another writer; 0 fails at once.
        should_stop: asked while it waits; True ends the wait.

    Raises:
        Busy: another process or thread is still writing; the message names it.
        ConfigError: the lock file cannot be created.
    """
    folder = Path(folder)
    path, deadline = folder / LOCK, time.monotonic() + wait_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (file := _take(path)) is None:
            if time.monotonic() >= deadline or should_stop():
                raise Busy(f"{folder} is being written by {_holder(path)}: wait until that ends, or use another folder")
            time.sleep(_POLL_S)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be locked ({error.strerror}): check its permissions") from error
    try:
        yield
    finally:
        # Removed while it is held: a waiting writer sees that this file is no longer the folder's lock.
        path.unlink(missing_ok=True)
        # Unlocked explicitly: a forked worker shares the descriptor, so closing it here would not release the lock.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _take(path: Path) -> int | None:
    """Descriptor of the locked file, which contains the holder's name; None if another holds it."""
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
        # The previous holder removed this file between the two calls, so its lock protects nothing.
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    """The holder of a lock, as named in its file."""
    with contextlib.suppress(FileNotFoundError):
        if name := path.read_text(encoding="utf-8", errors="replace"):
            return name
    return "another process"
