"""A process that is killed at each of its writes leaves an archive that opens, searches, and is completed by the next.

Writes are every file that is renamed, linked, deleted or opened for writing (Python's audit events), except temporary
ones and locks, and every statement that the catalogue executes. What SIGKILL leaves is what lies on
the disk at that moment, so one process does the work and the archive is copied before each of its writes, unless it is,
byte for byte, what it was before the last; one more process is really killed, and leaves the files of that copy.
"""

import itertools
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.database import Database
from surgvl.archive.from_run import make_from_run
from surgvl.archive.restoring import restore_header
from surgvl.core.errors import DataError
from surgvl.embed import embedder as embedders
from surgvl.embed.embedder import Embedder
from tests.archive.test_adding import check_whole, states
from tests.archive.test_reindexing import other_embedder
from tests.helpers.in_fork import in_fork
from tests.helpers.made_archive import empty_archive, film, opened, plain_embedder

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


def verify(archive: Archive, root: Path) -> None:
    archive.verify()


def rename(archive: Archive, root: Path) -> None:
    archive.set(name="ward")


def reindex(archive: Archive, root: Path) -> None:
    embedders.local_embedder = other_embedder  # type: ignore[assignment]
    archive.reindex("other")


def enter(archive: Archive, root: Path) -> None:
    archive.catalogue.set_details("a", who="ada", title="t", tags=["x"])
    archive.catalogue.add_label("a", "phase", "late", 1, 2, "ada")
    archive.catalogue.undo("ada")


def run(act: Act, root: Path, before_write: Callable[[int], object]) -> None:
    """Do something with an archive; `before_write` is called with the number of each write."""
    archive = opened(root / "archive")
    _before_writes(before_write)
    act(archive, root)


def _before_writes(call: Callable[[int], object]) -> None:
    """For the rest of this process: a hook cannot be removed."""
    numbers, inside = itertools.count(), [False]

    def write() -> None:
        if not inside[0]:
            inside[0] = True
            call(next(numbers))
            inside[0] = False

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


def kill_at(at: int, number: int) -> None:
    """End this process at one write."""
    if number == at:
        os.kill(os.getpid(), signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    files = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return {path: Path(path).read_bytes() for path in files}


def keep(folder: Path, kept: Path, last: dict[str, bytes], number: int) -> None:
    """Copy a folder to `kept / number`; where it holds what it held `last`, write only the number down."""
    present = contents(folder)
    if present != last:
        shutil.copytree(folder, kept / str(number))
        last.clear()
        last.update(present)
    (kept / "number").write_text(str(number))


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
    verify: (6, {"a"}, {"a"}),
    rename: (1, {"a"}, {"a"}),
    reindex: (20, {"a"}, {"a"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("act", AFTER, ids=lambda act: act.__name__)
def test_killed_at_every_write(act: Act, begun: Path, tmp_path: Path) -> None:
    fewest, before, after = AFTER[act]
    root, kept, start = tmp_path / "root", tmp_path / "kept", tmp_path / "start"
    shutil.copytree(begun, root)
    kept.mkdir()
    if act is update:
        (root / "changed.mp4").replace(root / "films/a.mp4")
    folder = root / "archive"
    if act is verify:
        next(folder.glob("spaces/*/index/index.json")).write_text("{")
    shutil.copytree(folder, start)
    assert in_fork(partial(run, act, root, partial(keep, folder, kept, {}))) == 0
    assert int((kept / "number").read_text()) + 1 >= fewest
    copies = sorted((path for path in kept.iterdir() if path.is_dir()), key=lambda path: int(path.name))
    middle = copies[len(copies) // 2]
    replace(folder, start)
    assert in_fork(partial(run, act, root, partial(kill_at, int(middle.name)))) == -signal.SIGKILL
    assert names(folder) == names(middle)
    for place in (folder, *copies):
        if place != folder:
            replace(folder, place)
        with Archive.open(folder) as archive:
            archive.embedder = embedder_of(archive)
            if act is not verify:
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


def replace(folder: Path, other: Path) -> None:
    """Put another folder in the place of one."""
    shutil.rmtree(folder)
    other.rename(folder)


def embedder_of(archive: Archive) -> Embedder:
    return next(each for each in (plain_embedder(), other_embedder()) if each.hash == archive.model_hash)


def names(folder: Path) -> list[str]:
    """Names of files and folders; those of temporary ones are drawn anew each time."""
    return sorted(re.sub(r"[^/]*\.tmp[^/]*", "TEMPORARY", str(path.relative_to(folder))) for path in folder.rglob("*"))


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
    elif act is reindex:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedders, "local_embedder", other_embedder)
            archive.reindex("other")
        assert archive.model == "other"
        # Those of the old model may be left after the switch: they are named.
        assert len(archive.verify()) == len(list((archive.folder / "spaces").iterdir())) - 1
    elif act is rename:
        act(archive, root)
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


@pytest.mark.slow
def test_an_archive_of_a_run_that_was_not_finished_is_made_again(begun: Path, tmp_path: Path) -> None:
    run, kept, folder = tmp_path / "run", tmp_path / "kept", tmp_path / "new"
    with opened(begun / "archive") as archive:
        shutil.copytree(archive.space.vectors, run / "vectors")
        archive.manifest().save(run / "manifest")
    kept.mkdir()
    folder.mkdir()

    def make() -> None:
        _before_writes(partial(keep, folder, kept, {}))
        make_from_run(run, folder, "ward")

    assert in_fork(make) == 0
    copies = [path for path in kept.iterdir() if path.is_dir()]
    assert len(copies) >= 8
    for place in copies:
        replace(folder, place)
        if not (folder / "archive.json").exists():
            with pytest.raises(DataError):
                Archive.open(folder)
            try:
                make_from_run(run, folder, "ward")
            except DataError:
                # Of the last write, the header, alone is missing.
                assert len(restore_header(folder)) == 1
        with opened(folder) as archive:
            archive.update()
            check_whole(archive)
            assert states(archive) == {"a": "embedded"}
            assert [each.name for each in archive.catalogue.labels("a")] == ["early"]


@pytest.mark.slow
def test_an_archive_that_was_not_finished_is_made_again(tmp_path: Path) -> None:
    def make(number: int) -> None:
        _before_writes(partial(kill_at, number))
        empty_archive(tmp_path / "archive")

    made = 0
    for number in range(100):
        if in_fork(partial(make, number)) == 0:
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
