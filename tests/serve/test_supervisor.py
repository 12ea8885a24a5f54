"""Engines are started by a small process: their output, their status, their end, and the end of that process."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgvl.serve.supervisor import SupervisedEngine, Supervisor
from tests.helpers.gateway_stand import until
from tests.helpers.patience import patience
from tests.helpers.served import alive, below, gone, words_of

# Says what it was given, and either ends or waits with a child that hears no SIGTERM.
ENGINE = """
import os, signal, subprocess, sys
if sys.argv[1].isdigit():
    print(os.environ["SAYS"], sys.argv[1:], sys.stdin.read(), flush=True)
    sys.exit(int(sys.argv[1]))
deaf = "trap '' TERM; echo deaf; while :; do sleep 600; done"
child = subprocess.Popen(["sh", "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
print(os.getpid(), child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    found = Supervisor()
    yield found
    found.ask_no_more()
    found.wait()


def start(supervisor: Supervisor, place: Path, word: str, **more: str) -> SupervisedEngine:
    """The engine, whose log has the name of its word, with more of the environment."""
    (place / "engine.py").write_text(ENGINE)
    environment = {**os.environ, "SAYS": "hello", "PYTHONPATH": os.pathsep.join((str(place), *sys.path)), **more}
    with (place / word).open("ab") as log:
        return supervisor.start(("engine", word), environment, log, fork=False)


def pids(log: Path) -> list[int]:
    """Numbers of a waiting engine and of its child."""
    assert until(lambda: log.read_text().endswith("\n"))
    return list(map(int, log.read_text().split()))


@pytest.mark.slow
def test_what_an_engine_says_and_how_it_ends(supervisor: Supervisor, tmp_path: Path) -> None:
    engine = start(supervisor, tmp_path, "7")
    assert engine.exit_status(patience(10)) == 7
    assert (tmp_path / "7").read_text() == "hello ['7'] \n"

    engine = start(supervisor, tmp_path, "wait")
    family = pids(tmp_path / "wait")
    assert engine.exit_status() is None
    os.kill(family[0], signal.SIGKILL)
    assert engine.exit_status(patience(10)) == 128 + signal.SIGKILL
    assert gone(family)


@pytest.mark.slow
def test_an_environment_may_exceed_a_message(supervisor: Supervisor, tmp_path: Path) -> None:
    # Linux lets a program have megabytes of it, and a socket's message 200 kB.
    more = {f"MANY_{number}": "x" * 100_000 for number in range(4)}
    assert start(supervisor, tmp_path, "3", **more, SAYS="last").exit_status(patience(10)) == 3
    assert (tmp_path / "3").read_text() == "last ['3'] \n"


@pytest.mark.slow
def test_an_engine_does_not_outlive_the_process_that_watches_it(supervisor: Supervisor, tmp_path: Path) -> None:
    engine = start(supervisor, tmp_path, "wait")
    own, _ = pids(tmp_path / "wait")
    # After the name in brackets: state, parent (proc(5)).
    watching = int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(watching, signal.SIGKILL)
    try:
        assert engine.exit_status(patience(10)) == 128 + signal.SIGKILL
        assert gone([own])
    finally:
        # Its child hears no SIGTERM, and nobody is left to end it.
        os.killpg(own, signal.SIGKILL)


@pytest.mark.slow
def test_engines_outlive_what_started_them_and_end_when_told(supervisor: Supervisor, tmp_path: Path) -> None:
    engine = start(supervisor, tmp_path, "wait")
    family = pids(tmp_path / "wait")
    first = next(pid for pid in below(os.getpid()) if words_of(pid).endswith("surgvl.serve.supervise "))
    os.kill(first, signal.SIGKILL)
    assert gone([first])
    assert start(supervisor, tmp_path, "0").exit_status(patience(10)) == 0
    assert all(map(alive, family))
    engine.stop()
    assert engine.exit_status() == 128 + signal.SIGTERM
    assert gone(family)
