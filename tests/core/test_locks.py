"""The lock of a folder, with real processes and threads at once."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgvl.core.errors import ConfigError
from surgvl.core.locks import locked
from surgvl.core.run_folder import prepare_out

# Adds 1 to a file's number so slowly that two who do it at once would lose a step.
COUNT = """
import pathlib, sys, time
from surgvl.core.locks import locked
folder = pathlib.Path(sys.argv[1])
for _ in range(20):
    with locked(folder, 60):
        number = int((folder / "number").read_text())
        time.sleep(0.002)
        (folder / "number").write_text(str(number + 1))
"""
HOLD = """
import sys, time
from surgvl.core.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def start(script: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = start(HOLD, tmp_path / "out")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    processes = [start(COUNT, tmp_path) for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "60"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


@pytest.mark.slow
def test_the_refusal_names_the_holder(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(ConfigError) as refused, locked(tmp_path / "out"):
        pytest.fail("two hold the lock")
    text = str(refused.value)
    assert f"process {holder.pid} on {socket.gethostname()}" in text
    assert str(tmp_path / "out") in text
    assert "\n" not in text
    with locked(tmp_path / "other"):
        pass


@pytest.mark.slow
def test_who_waits_gets_it_when_the_holder_is_killed(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    timer = threading.Timer(0.3, os.kill, (holder.pid, signal.SIGKILL))
    timer.start()
    with locked(tmp_path / "out", 60):
        assert holder.wait(10) == -signal.SIGKILL
    timer.join()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_waiting_ends(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="being written"), locked(tmp_path / "out", 0.2):
        pytest.fail("two hold the lock")
    assert time.monotonic() - begun >= 0.2


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    with locked(tmp_path):
        refused = []

        def second() -> None:
            try:
                with locked(tmp_path):
                    pass
            except ConfigError as error:
                refused.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    with locked(tmp_path):
        pass


def test_a_locked_folder_counts_as_empty(tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        prepare_out(tmp_path / "out")
        (tmp_path / "out" / "made").touch()
        with pytest.raises(ConfigError, match="not empty"):
            prepare_out(tmp_path / "out")


def test_a_file_in_the_folders_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match="cannot be locked"), locked(tmp_path / "out"):
        pytest.fail("a file was locked")
