"""Names of files that are being written, and what killed processes left of them."""

import hashlib
import os
import re
import socket
from pathlib import Path

_NAME = re.compile(r"\.(?P<process>[0-9]+)-(?P<host>[0-9a-f]{8})\.tmp(\.[^.]*)?$")


def temporary_path(path: Path) -> Path:
    """A path beside `path`, of the same ending, that tells which process of which machine writes there."""
    # Most file systems take names of 255 bytes, which the temporary one would pass first.
    name = path.name if len(os.fsencode(path.name)) <= 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{name}.{os.getpid()}-{_host()}.tmp{path.suffix}")


def clear_temporary(folder: Path) -> None:
    """Delete what was left half-written at any depth of a folder when its process was killed.

    Only of processes of this machine that are gone: others may be at work in the same folder.
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
        return True  # another user's
    return True
