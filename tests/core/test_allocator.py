"""Arenas of glibc, as it counts them itself (malloc_info), with and without a bound."""

import subprocess
import sys

import pytest

from surgvl.core.allocator import bound_arenas

# Sixteen threads hold memory at the same time, as if on three cores; then the C library tells its arenas as XML.
COUNT = """
import ctypes, sys, threading
from surgvl.core.allocator import bound_arenas
import os
os.cpu_count = lambda: 3
if sys.argv[1] == "bound":
    assert bound_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
here = threading.Barrier(16)
def hold():
    libc.malloc(5000)
    here.wait()
threads = [threading.Thread(target=hold) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fdopen.restype, libc.fdopen.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p]
libc.malloc_info.argtypes, libc.fflush.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
out = libc.fdopen(1, b"w")
libc.malloc_info(0, out)
libc.fflush(out)
"""


def arenas(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="arenas are glibc's")
def test_threads_share_an_arena_a_core() -> None:
    assert arenas("free") > 3
    assert 1 < arenas("bound") <= 3


def test_other_systems_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not bound_arenas()
