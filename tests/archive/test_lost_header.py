"""An archive that has lost `archive.json` is not taken for an empty folder, and gets it again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.creating import new_folder
from surgvl.archive.restoring import restore_header
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, DataError
from tests.archive.test_adding import check_whole, states
from tests.helpers.made_archive import empty_archive, film, opened


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """An archive of one recording without its header."""
    film(tmp_path / "films/a.mp4", 1, 2)
    with empty_archive(tmp_path / "archive") as archive:
        archive.add([tmp_path / "films"])
        archive.catalogue.add_label("a", "phase", "early", 0, 1, "ada")
    (tmp_path / "archive/archive.json").unlink()
    return tmp_path / "archive"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".sqlite-wal", ".sqlite-shm")
    }


def test_nothing_of_it_is_deleted(lost: Path, tiny_run: Path) -> None:
    before = contents(lost)
    acts: list[Callable[[], object]] = [
        lambda: empty_archive(lost),
        lambda: Archive.from_run(tiny_run, lost),
        lambda: Archive.open(lost),
    ]
    for act in acts:
        with pytest.raises(DataError, match=r"no archive.json: restore a copy of it, or `surgvl archive verify"):
            act()
    assert contents(lost) == before
    # Vectors alone are hours of work, too.
    (lost / "catalogue.sqlite").unlink()
    with pytest.raises(DataError, match="neither archive.json nor catalogue.sqlite: restore copies"):
        empty_archive(lost)
    assert len(list(lost.glob("spaces/*/vectors/shard-*"))) == 2
    with pytest.raises(DataError, match="neither archive.json nor catalogue.sqlite: restore copies"):
        cli.run(["archive", "verify", str(lost)])


@pytest.mark.slow
def test_verify_makes_it_again(lost: Path) -> None:
    with pytest.raises(DataError, match="holds recordings but no archive.json"):
        cli.run(["archive", "verify", str(lost), "--mend", "false"])
    assert not (lost / "archive.json").exists()
    with pytest.raises(DataError, match="archive.json was missing: made again, with model plain"):
        cli.run(["archive", "verify", str(lost)])
    with opened(lost) as archive:
        assert (archive.name, archive.model, archive.chat) == ("archive", "plain", "")
        assert states(archive) == {"a": "embedded"}
        assert [each.name for each in archive.catalogue.labels("a")] == ["early"]
        check_whole(archive)
        assert archive.verify() == []
    assert restore_header(lost) == []


@pytest.mark.slow
def test_of_two_spaces_that_of_all_recordings_was_used(lost: Path, tmp_path: Path) -> None:
    (space,) = lost.glob("spaces/*")
    with empty_archive(tmp_path / "other") as other:
        other.space.folder.rename(lost / "spaces/begun")
    restore_header(lost)
    assert opened(lost).space.folder.name == space.name
    # Two that hold all: which one was used is not guessed.
    (lost / "archive.json").unlink()
    for path in space.glob("vectors/*"):
        (lost / "spaces/begun/vectors" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"cannot be determined \(.*begun\): restore a copy of it"):
        restore_header(lost)
    assert not (lost / "archive.json").exists()


def test_an_unfinished_folder_is_made_again(tmp_path: Path) -> None:
    def begin() -> None:
        with new_folder(tmp_path / "archive") as home:
            (home / "spaces/x/vectors").mkdir(parents=True)
            (home / "spaces/x/vectors/shard-00000.parquet").touch()
            raise InterruptedError

    with pytest.raises(InterruptedError):
        begin()
    empty_archive(tmp_path / "archive").close()
    assert not (tmp_path / "archive/.making").exists()


def test_a_model_for_questions_that_is_none_is_refused_before_anything_is_made(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        Archive.create(tmp_path / "archive", tiny_run / "align", chat="no-such-model", load=False)
    assert not (tmp_path / "archive").exists()
