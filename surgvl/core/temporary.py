"""Temporary names of files that are being written, and cleaning up after killed processes."""

import hashlib
import os
import re
import socket
from pathlib import Path

_NAME = re.compile(r"\.(?P<process>[0-9]+)-(?P<host>[0-9a-f]{8})\.tmp(\.[^.]*)?$")


def temporary_path(path: Path) -> Path:
    """A path next to `path`, with the same suffix, that names the process and machine that write it."""
    # Most file systems limit names to 255 bytes, and the temporary one is longer.
    name = path.name if len(os.fsencode(path.name)) <= 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{name}.{os.getpid()}-{_host()}.tmp{path.suffix}")


def clear_temporary(folder: Path) -> None:
    """Delete the half-written files of killed processes, at any depth of a folder.

    Only those of this machine's processes that no longer run: others may be writing to the same folder.
    """
    for path in list(folder.rglob(".*.tmp*")):
        made = _NAME.search(path.name)
        if made and made["host"] == _host() and not _runs(int(made["process"])):
            path.unlink(missing_ok=True)


def _host() -> str:
    """This machine in 8 hex digits."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is another user's
    return True
