"""Work in a fork of the test's own process, which has imported everything and may be killed."""

import os
import sys
import traceback
from collections.abc import Callable


def in_fork(work: Callable[[], object]) -> int:
    """Exit status of a fork that does some work: 0, or 1 if it raised; -9 if SIGKILL ended it."""
    return ended(begin(work))


def ended(child: int) -> int:
    """Exit status of a fork, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def begin(work: Callable[[], object]) -> int:
    """Id of a fork that does some work.

    With one thread only: those of the parent are not in the fork, and OpenMP would wait for them.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Neither pytest nor anything else of the parent's is run by the child.
        os._exit(status)


def imports_none_of(absent: set[str], work: Callable[[], object]) -> bool:
    """Whether some work, which imports surgvl anew in a fork, does without these modules, which the fork forgets."""

    def alone() -> None:
        for name in list(sys.modules):
            if any(name == each or name.startswith(f"{each}.") for each in {*absent, "surgvl"}):
                del sys.modules[name]
        work()
        assert not absent & set(sys.modules), absent & set(sys.modules)

    return in_fork(alone) == 0
