"""What workers report is what pytest reports without them, and a worker's death is one test's failure."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.helpers.in_fork import in_fork

CONFTEST = """
import pytest
from tests.helpers import workers

def pytest_addoption(parser):
    parser.addoption("--workers", type=int, default=1)

def pytest_runtestloop(session):
    count = session.config.getoption("workers")
    if count == 1:
        return None
    files = {}
    for place, item in enumerate(session.items):
        files.setdefault(item.path, []).append(place)
    workers.run(session, list(files.values()), count)
    return True
"""
OUTCOMES = """
import os, sys, warnings
import pytest

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    print("made")
    yield tmp_path_factory.mktemp("shared")
    with open({log!r}, "a") as log:
        log.write("taken down\\n")

@pytest.mark.parametrize("number", range(5))
def test_passes(number, shared, tmp_path):
    assert shared.is_dir() and tmp_path.is_dir()

def test_fails(shared):
    print("said by {name}")
    assert "one" == "another"

def test_is_skipped():
    pytest.skip("not here")

@pytest.mark.xfail
def test_fails_as_expected():
    raise ValueError

def test_warns():
    warnings.warn("mind {name}")

@pytest.fixture
def broken():
    yield
    raise RuntimeError("taken down badly")

def test_that_ends_badly(broken):
    pass
"""


def run(folder: Path, *flags: str) -> tuple[int, str]:
    """Exit status and output of pytest, in a fork, on the tests of a folder."""
    out = folder.parent / f"{folder.name}-{len(flags)}.txt"
    argv = [
        f"{folder}",
        f"--rootdir={folder}",
        f"--basetemp={out}-made",
        "-pno:cacheprovider",
        "-c/dev/null",
        "-Wdefault",
    ]

    def work() -> None:
        os.environ.pop("PYTEST_ADDOPTS", None)
        with out.open("w") as sys.stdout:
            sys.exit(pytest.main([*argv, *flags]))

    return in_fork(work), out.read_text()


def lines(output: str, *words: str) -> list[str]:
    """The lines that begin with one of some words, sorted and without times."""
    return sorted(re.sub(r" in [\d.]+s", "", line) for line in output.splitlines() if line.startswith(words))


def test_what_is_reported_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    for name in ("first", "second", "third"):
        log = str(tmp_path / "log")
        (folder / f"test_{name}.py").write_text(OUTCOMES.replace("{log!r}", repr(log)).replace("{name}", name))
    plain = run(folder, "-rA")
    assert "3 failed, 21 passed, 3 skipped, 3 xfailed, 3 warnings, 3 errors" in plain[1]
    forked = run(folder, "-rA", "--workers=2")
    words = ("PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "said by", "E   ", "=", "  ")
    assert forked[0] == plain[0] == 1
    assert lines(forked[1], *words) == lines(plain[1], *words)
    # Once for each file in each run.
    assert (tmp_path / "log").read_text() == 6 * "taken down\n"


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_a_worker_that_dies_fails_its_test_alone(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_dies.py").write_text(
        f"import os\ndef test_before(): pass\ndef test_dies(): {end}\ndef test_after(): pass\n"
    )
    (folder / "test_other.py").write_text("def test_other(): pass\n")
    status, output = run(folder, "-rA", "--workers=2")
    assert status == 1
    assert "1 failed, 3 passed" in output
    assert "the worker ended with status" in output
    assert re.search(r"FAILED .*::test_dies\b", output)


def test_what_is_found_when_all_tests_have_ended_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    leak = "import sys\nclass Leak:\n    def __del__(self): raise ValueError('leaked')\n"
    (folder / "test_leaks.py").write_text(f"{leak}def test_leaks():\n    a = Leak()\n    a.a = a\n    del a\n")
    (folder / "test_other.py").write_text("def test_other(): pass\n")
    status, output = run(folder, "-Werror", "--workers=2")
    assert status != 0
    assert "leaked" in output


def test_as_many_failures_as_are_waited_for_end_it(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    for name in ("first", "second"):
        tests = "".join(f"def test_{n}():\n    time.sleep(0.01)\n    assert 0\n" for n in range(50))
        (folder / f"test_{name}.py").write_text(f"import time\n{tests}")
    status, output = run(folder, "--maxfail=3", "--workers=2")
    assert status == 1
    assert "stopping after 3 failures" in output
    assert 3 <= int(re.findall(r"(\d+) failed", output)[-1]) < 20
