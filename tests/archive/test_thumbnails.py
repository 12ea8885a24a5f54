"""Pictures are made once, go with their recording, and never fill the disk."""

import os
from pathlib import Path

import pytest

from surgvl.archive.thumbnails import Thumbnails
from tests.helpers.made_archive import empty_archive, film


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def never() -> bytes:
    raise AssertionError("it is made again")


def test_a_picture_is_made_once_and_by_whoever_asks_first(tmp_path: Path) -> None:
    one, other = Thumbnails(tmp_path / "kept"), Thumbnails(tmp_path / "kept")
    assert one.get("0123", 1.5, 96, lambda: b"made") == b"made"
    assert other.get("0123", 1.5, 96, never) == b"made"
    assert kept(tmp_path / "kept") == ["0123-1.50-96.jpg"]
    assert one.get("0123", 1.6, 96, lambda: b"another") == b"another"
    assert one.get("4567", 1.5, 96, lambda: b"third") == b"third"
    one.settle({"4567"})
    assert kept(tmp_path / "kept") == ["4567-1.50-96.jpg"]


def test_the_oldest_go_where_the_folder_grows_too_large(tmp_path: Path) -> None:
    small = Thumbnails(tmp_path, max_bytes=250)
    for number in range(4):
        small.get("0123", number, 96, lambda: bytes(100))
        os.utime(tmp_path / f"0123-{number:.2f}-96.jpg", (number, number))
    small.settle({"0123"})
    assert kept(tmp_path) == ["0123-2.00-96.jpg", "0123-3.00-96.jpg"]


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    broken = Thumbnails(tmp_path / "file" / "kept")
    assert broken.get("0123", 0, 96, lambda: b"made") == b"made"
    broken.settle(set())


@pytest.mark.slow
def test_pictures_go_with_their_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from surgvl.commands.archive_read import archive_info

    with empty_archive(tmp_path / "archive") as archive:
        archive.add([film(tmp_path / "one.mp4", 1), film(tmp_path / "two.mp4", 2)])
        for id in ("one", "two"):
            archive.thumbnails.get(archive.recording(id).content, 0.5, 96, lambda: bytes(3_000_000))
        archive_info(archive.folder)
        assert "storage      6.1 MB" in capsys.readouterr().out
        left = archive.recording("two").content
        archive.remove(["one"])
        assert kept(archive.thumbnails.folder) == [f"{left}-0.50-96.jpg"]
