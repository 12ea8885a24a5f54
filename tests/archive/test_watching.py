"""Watching a folder outlasts bad files, other writers and folders that vanish."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surgvl.archive import watching
from surgvl.archive.archive import Archive
from surgvl.archive.records import Report
from surgvl.core.locks import locked
from surgvl.embed.recordings import find_videos
from tests.archive.test_adding import states
from tests.helpers.made_archive import empty_archive, film
from tests.helpers.patience import patience


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    (tmp_path / "inbox").mkdir()
    with empty_archive(tmp_path / "archive") as found:
        yield found


def looks(archive: Archive, at_look: Callable[[int], bool]) -> list[Report]:
    """Watch `inbox`; `at_look` is called with the number of each look, and ends it with True."""
    reports: list[Report] = []
    number = [0]

    def sleep(duration_s: float, should_stop: object) -> None:
        number[0] += 1
        ended[0] = at_look(number[0])

    ended = [False]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "_sleep", sleep)
        archive.watch(archive.folder.parent / "inbox", reports.append, should_stop=lambda: ended[0])
    return reports


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_named_once(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAUSE_S", 0.0)
    bad = tmp_path / "inbox/bad.mp4"
    bad.write_text("no video")

    def at_look(number: int) -> bool:
        if number == 5:
            film(tmp_path / "inbox/good.mp4")
        if number == 8:
            film(tmp_path / "inbox/bad.mp4", 2)
        return number == 11

    reports = looks(archive, at_look)
    assert [(list(each.aside), each.added) for each in reports] == [([str(bad)], ()), ([], ("good",)), ([], ("bad",))]
    assert "bad.mp4" in reports[0].aside[str(bad)]


def test_a_copy_that_pauses_is_not_named(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "inbox/half.mp4").write_text("no video yet")
    assert looks(archive, lambda number: number == 5) == []
    assert archive.catalogue.rows() == []


@pytest.mark.slow
def test_files_wait_while_another_process_writes(archive: Archive, tmp_path: Path) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(archive.folder):
            held.set()
            free.wait(patience(60))

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(patience(20))
    film(tmp_path / "inbox/a.mp4")

    def at_look(number: int) -> bool:
        if number == 4:
            assert archive.catalogue.rows() == []
            free.set()
            holder.join()
        return number == 6

    assert [each.added for each in looks(archive, at_look)] == [("a",)]
    assert states(archive) == {"a": "embedded"}


def test_a_folder_that_vanishes_while_it_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "inbox/a.mp4")
    film(tmp_path / "inbox/sub/b.mp4", 2)
    iterdir = Path.iterdir

    def vanishing(path: Path) -> Iterator[Path]:
        if path.name == "sub":
            (path / "b.mp4").unlink()
            os.rmdir(path)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", vanishing)
    assert find_videos([tmp_path / "inbox"])[0] == [(tmp_path / "inbox/a.mp4").resolve()]
