"""A command that is killed as soon as it has kept some replies."""

import os
import signal
import warnings
from collections.abc import Mapping
from typing import Any

from surgvl.chat.replies import Replies, Reply
from surgvl.cli import main as cli


def run_killed_after(argv: list[str], count: int) -> None:
    """Run a command until it has kept so many replies, where SIGKILL ends its process, a fork of this one."""
    with warnings.catch_warnings():
        # The threads of this process are not in the fork, which needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            _run(argv, count)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _run(argv: list[str], count: int) -> None:
    add, kept = Replies.add, 0

    def until(self: Replies, key: str, reply: Reply, sent: Mapping[str, Any]) -> None:
        nonlocal kept
        add(self, key, reply, sent)
        kept += 1
        if kept == count:
            os.kill(os.getpid(), signal.SIGKILL)

    Replies.add = until  # type: ignore[method-assign]
    cli.run(argv)
