"""A process that is killed at each of its writes leaves an archive that opens, searches, and is completed by the next.

Writes are counted in one process: every file that is renamed, linked, deleted or opened for writing (Python's audit
events), but for temporary ones and locks, which nobody reads, and every statement that the catalogue executes. Each
fork of the process is killed before one of them.
"""

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.database import Database
from surgvl.core.errors import DataError
from tests.archive.test_adding import check_whole, states
from tests.helpers.made_archive import empty_archive, film, opened

# Names of temporary files and of locks.
UNREAD = re.compile(r"\.tmp|\.lock$|^\d+$")
Act = Callable[[Archive, Path], object]


def add(archive: Archive, root: Path) -> None:
    archive.add([root / "films"], coarse=True)


def remove(archive: Archive, root: Path) -> None:
    archive.remove(["a"])


def update(archive: Archive, root: Path) -> None:
    archive.update()


def merge(archive: Archive, root: Path) -> None:
    archive.merge(root / "other")


def enter(archive: Archive, root: Path) -> None:
    archive.catalogue.set_details("a", who="ada", title="t", tags=["x"])
    archive.catalogue.add_label("a", "phase", "late", 1, 2, "ada")
    archive.catalogue.undo("ada")


def run_killed(act: Act, root: Path, at: int) -> bool:
    """Whether a fork of this process was killed at its write number `at`; false if it ended before."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    status = 1
    try:
        archive = opened(root / "archive")
        _kill_at(at)
        act(archive, root)
        status = 0
    finally:
        # Neither pytest nor anything else of the parent's is run by the child.
        os._exit(status)


def _kill_at(number: int) -> None:
    left = [number]

    def write() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[object, ...]) -> None:
        is_write = event in ("os.rename", "os.remove", "os.link") or (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if is_write and not (event != "os.rename" and UNREAD.search(str(args[0]))):
            write()

    sys.addaudithook(hook)
    execute = Database.execute

    def executed(self: Database, statement: str, *values: object) -> int:
        write()
        return execute(self, statement, *values)

    Database.execute = executed  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of one film, with a second film beside it, and another archive."""
    root = tmp_path_factory.mktemp("begun")
    film(root / "films/a.mp4", 1, 2)
    archive = empty_archive(root / "archive")
    archive.add([root / "films"])
    archive.catalogue.add_label("a", "phase", "early", 0, 2, "ada")
    archive.close()
    film(root / "films/b.mp4", 2, 3)
    film(root / "more/c.mp4", 3, 4)
    film(root / "changed.mp4", 6, 5)
    with empty_archive(root / "other") as other:
        other.add([root / "more"])
        other.catalogue.add_label("c", "tag", "x", 0, 1, "bob")
    return root


AFTER: dict[Act, tuple[int, set[str], set[str]]] = {
    # Writes at least, recordings before, and recordings once it is done again.
    add: (20, {"a"}, {"a", "b"}),
    remove: (8, {"a"}, set()),
    update: (12, {"a"}, {"a"}),
    merge: (10, {"a"}, {"a", "c"}),
    enter: (6, {"a"}, {"a"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("act", AFTER, ids=lambda act: act.__name__)
def test_killed_at_every_write(act: Act, begun: Path, tmp_path: Path) -> None:
    fewest, before, after = AFTER[act]
    number = 0
    while True:
        root = tmp_path / str(number)
        shutil.copytree(begun, root)
        if act is update:
            (root / "changed.mp4").replace(root / "films/a.mp4")
        if not run_killed(act, root, number):
            break
        with opened(root / "archive") as archive:
            check_usable(archive)
            known = set(states(archive))
            assert before & after <= known <= before | after
            # The same again, as a person would type it.
            again(act, archive, root)
            check_whole(archive)
            assert set(states(archive)) == after
            assert set(states(archive).values()) <= {"embedded"}
            left = [path for path in archive.folder.rglob("*") if ".tmp" in path.name or path.name == ".lock"]
            assert not left
        shutil.rmtree(root)
        number += 1
    assert number >= fewest


def check_usable(archive: Archive) -> None:
    """What a reader, such as a page, asks for."""
    counts = archive.index().counts("video_id")
    for id in set(counts) & set(states(archive)):
        found, start_s, end_s = archive.vectors_of(id)
        assert len(found) == len(start_s) == len(end_s)
    if counts:
        assert archive.index().search([1.0] * archive.dim, 1)
    archive.manifest()
    assert json.loads((archive.folder / "archive.json").read_text())["version"] == 1


def again(act: Act, archive: Archive, root: Path) -> None:
    if act is remove and not states(archive):
        archive.update()
    elif act is enter:
        labels = [(each.name, each.start_s, each.end_s) for each in archive.catalogue.labels("a")]
        # One change is whole or not there at all.
        assert labels in ([("early", 0, 2)], [("early", 0, 1), ("late", 1, 2)])
        details = archive.catalogue.details("a")
        assert (details.title, details.tags) in (("", ()), ("t", ("x",)))
        archive.update()
    else:
        try:
            act(archive, root)
        except DataError:
            assert act is remove


def test_an_archive_that_was_not_finished_is_made_again(tmp_path: Path) -> None:
    made = 0
    for number in range(100):
        child = os.fork()
        if not child:
            _kill_at(number)
            empty_archive(tmp_path / "archive")
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        made += 1
        if (tmp_path / "archive/archive.json").exists():
            break
    assert made >= 8
    shutil.rmtree(tmp_path / "archive")
    film(tmp_path / "films/a.mp4")
    archive = empty_archive(tmp_path / "archive")
    archive.add([tmp_path / "films"])
    check_whole(archive)
