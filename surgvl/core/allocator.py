"""The memory allocator of a server with many threads: a bound on what they keep.

glibc gives threads arenas of their own, up to eight for each core, and what one thread frees serves no other. A server
whose requests each decode frames in another thread of a pool grows for hours until every arena has seen the largest
(mallopt(3); https://sourceware.org/glibc/wiki/MallocInternals).
"""

import ctypes
import os
import sys

# M_ARENA_MAX of malloc.h.
_ARENA_MAX = -8


def num_arenas() -> int:
    """Number of arenas."""
    return max(2, os.cpu_count() or 1)


def bound_arenas() -> bool:
    """Let all threads share one arena a core, and two at least; at the start of a process: arenas that are there stay.

    Returns:
        Whether the C library has arenas: glibc on Linux.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, "gnu_get_libc_version") and bool(library.mallopt(_ARENA_MAX, num_arenas()))
