"""Damaged lists of contents, spaces that were left, removals in one write, and what is embedded or merged again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from surgvl.archive.archive import Archive
from surgvl.embed import embedder as embedders
from surgvl.retrieval import clip_index, draft
from tests.archive.test_adding import check_whole, states
from tests.archive.test_reindexing import other_embedder
from tests.helpers.made_archive import archive_of_films, copy_of, empty_archive, film, opened, plain_embedder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive_of_films(tmp_path_factory.mktemp("made"), 2, 2, 2)


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Iterator[Archive]:
    with copy_of(made, tmp_path) as found:
        yield found


@pytest.mark.slow
def test_removals_are_one_write_of_the_index(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    writes, begin = list[Path](), draft.next_version

    def counted(folder: Path, *given: object) -> object:
        writes.append(folder)
        return begin(folder, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(clip_index, "next_version", counted)
    archive.remove(["a", "c"])
    assert len(writes) == 1
    assert archive.index().counts("video_id") == {"b": 2}
    check_whole(archive)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "{", "[]", '{"a": 1}'])
def test_a_damaged_list_of_contents_costs_no_vectors(archive: Archive, damage: str) -> None:
    path, before = archive.space.vectors / "shards.json", {p: p.read_bytes() for p in archive.space.vectors.iterdir()}
    path.unlink() if damage == "missing" else path.write_text(damage)
    (line,) = archive.verify(mend=False)
    assert line.startswith("shards.json: ")
    assert line.endswith("with --mend it is made again from the catalogue")
    assert archive.verify() == [line.replace("with --mend it is made", "made")]
    assert archive.verify() == []
    assert set(states(archive).values()) == {"embedded"}
    assert {p: p.read_bytes() for p in archive.space.vectors.iterdir() if p != path} == {
        p: found for p, found in before.items() if p != path
    }
    check_whole(archive)


@pytest.mark.slow
def test_vectors_that_a_killed_reindex_has_left_are_named(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "local_embedder", other_embedder)
    old = archive.space.folder

    class Killed(BaseException):
        pass

    def die(_: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("surgvl.archive.reindexing.shutil.rmtree", die)
        with pytest.raises(Killed):
            archive.reindex("other")
    assert archive.space.folder != old
    (line,) = archive.verify()
    assert line.startswith(f"spaces/{old.name} has ")
    assert "of plain that are not used" in line
    monkeypatch.setattr(embedders, "local_embedder", lambda *_: plain_embedder())
    # Those that are to stay are no damage.
    archive.reindex("plain", keep=True)
    assert archive.space.folder == old
    assert len(list((archive.folder / "spaces").iterdir())) == 2
    assert archive.verify() == []


@pytest.mark.slow
def test_a_reindex_that_was_stopped_on_purpose_is_no_damage(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "local_embedder", other_embedder)
    asked = [0]

    def should_stop() -> bool:
        asked[0] += 1
        return asked[0] > 6

    assert archive.reindex("other", should_stop=should_stop).stopped
    (begun,) = [each for each in (archive.folder / "spaces").iterdir() if each != archive.space.folder]
    assert archive.verify() == []

    class Killed(BaseException):
        pass

    def die() -> bool:
        raise Killed

    # Gone on with, and then killed, it is.
    with pytest.raises(Killed):
        archive.reindex("other", should_stop=die)
    (line,) = archive.verify()
    assert line.startswith(f"spaces/{begun.name} has ")
    archive.reindex("other")
    assert archive.verify() == []


@pytest.mark.slow
def test_what_was_embedded_just_now_is_not_unchanged(archive: Archive, tmp_path: Path) -> None:
    film(tmp_path / "films/d.mp4", 4, 2)
    asked = [0]

    def should_stop() -> bool:
        asked[0] += 1
        return True

    assert archive.add([tmp_path / "films"], should_stop=should_stop).stopped
    assert states(archive)["d"] == "waiting"
    report = archive.update()
    assert (report.embedded, report.unchanged) == (("d",), ("a", "b", "c"))
    assert archive.update().embedded == ()


@pytest.mark.slow
def test_what_was_removed_at_home_stays_away_when_archives_are_merged_again(archive: Archive, tmp_path: Path) -> None:
    film(tmp_path / "more/x.mp4", 8, 4)
    with empty_archive(tmp_path / "other") as other:
        other.add([tmp_path / "more"])
        for name, start_s in (("removed", 0), ("stays", 1), ("kept", 2)):
            other.catalogue.add_label("x", "tag", name, start_s, start_s + 1, "bob")
        other.catalogue.add_label("x", "phase", "whole", 0, 4, "bob")
        other.catalogue.add_clip("x", 0, 1, "clip", "", "bob")
        archive.merge(other)
        here = archive.catalogue
        here.remove_label(next(each.id for each in here.labels("x") if each.name == "removed"), "ada")
        here.remove_clip(here.clips("x")[0].id, "ada")
        # The same person says more at home, which cuts the label.
        here.add_label("x", "phase", "late", 3, 4, "bob")
        before = [(each.name, each.start_s, each.end_s) for each in here.labels("x")]
        archive.merge(other)
        assert [(each.name, each.start_s, each.end_s) for each in here.labels("x")] == before
        assert here.clips("x") == []
        # What is said anew there is new here.
        other.catalogue.add_label("x", "tag", "removed", 0, 1, "bob")
        other.catalogue.add_label("x", "tag", "more", 0, 1, "bob")
        archive.merge(other)
        assert {each.name for each in here.labels("x")} == {name for name, *_ in before} | {"removed", "more"}


def test_a_recording_without_its_file_is_as_foreign_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "films/a.mp4")
    with empty_archive(tmp_path / "archive") as archive:
        archive.add([tmp_path / "films"])
        monkeypatch.setattr("surgvl.archive.foreign.labels_trained_on", lambda *_: "rendered videos")
        before = archive.foreign.why(archive.recording("a"))
        assert "rendered videos alone" in before
        (tmp_path / "films/a.mp4").unlink()
        with opened(archive.folder) as again:
            row = again.recording("a")
            assert (row.state, again.foreign.why(row)) == ("missing", before)
            assert again.foreign.why(replace(row, rendered=True)) == ""
