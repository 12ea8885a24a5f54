"""Work in a fork of the test's own process, which has imported everything and may be killed."""

import os
import traceback
from collections.abc import Callable


def in_fork(work: Callable[[], object]) -> int:
    """Exit status of a fork that does some work: 0, or 1 if it raised; -9 if SIGKILL ended it.

    With one thread only: those of the parent are not in the fork, and OpenMP would wait for them.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Neither pytest nor anything else of the parent's is run by the child.
        os._exit(status)
