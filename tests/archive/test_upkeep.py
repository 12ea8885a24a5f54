"""Verifying, merging, exporting, and watching a folder."""

import csv
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.label_table import NewLabel
from surgvl.archive.records import Report
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.embed.meta import write_meta
from tests.archive.test_adding import check_whole, states
from tests.helpers.made_archive import archive_of_films, copy_of, empty_archive, film
from tests.helpers.patience import patience


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive_of_films(tmp_path_factory.mktemp("made"), 3, 4)


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Iterator[Archive]:
    with copy_of(made, tmp_path) as found:
        yield found


def damage(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["index/*.faiss", "index/index.json", "index/*.parquet", "index"])
def test_a_damaged_index_is_made_again(archive: Archive, what: str) -> None:
    assert archive.verify() == []
    for path in archive.space.folder.glob(what):
        shutil.rmtree(path) if path.is_dir() else damage(path)
    lines = archive.verify(mend=False)
    assert len(lines) == 1
    assert lines[0].startswith("index: ")
    assert lines[0].endswith("with --mend it is made again from the vectors")
    assert archive.verify() == [lines[0].replace("with --mend it is made", "made")]
    assert archive.verify() == []
    check_whole(archive)


@pytest.mark.slow
def test_vectors_of_another_recording_do_not_fit_their_times(archive: Archive) -> None:
    shard = archive.space.vectors / "shard-00000"
    shutil.copy(archive.space.vectors / "shard-00001.safetensors", shard.with_suffix(".safetensors"))
    lines = archive.verify()
    assert "shard-00000" in lines[0]
    assert "has no vectors any more" in lines[-1]
    assert sorted(states(archive).values()) == ["embedded", "waiting"]
    check_whole(archive)
    archive.update()
    assert archive.verify() == []
    check_whole(archive)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
def test_damaged_vectors_are_embedded_again(archive: Archive, suffix: str) -> None:
    damage(archive.space.vectors / f"shard-00001{suffix}")
    lines = archive.verify()
    # Neither the folder of the archive nor the remedy of another command.
    assert lines[0].startswith("vectors/shard-00001.parquet and shard-00001.safetensors: ")
    assert "embed again" not in lines[0]
    assert "dropped" in lines[0]
    archive.update()
    assert archive.verify() == []
    assert set(states(archive).values()) == {"embedded"}
    check_whole(archive)


@pytest.mark.slow
def test_files_that_are_gone_or_changed_are_named(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "films/a.mp4").unlink()
    film(tmp_path / "films/b.mp4", 9, 2)
    damage(archive.folder / "manifest/manifest.parquet")
    lines = archive.verify()
    assert len(lines) == 3
    assert lines[0].startswith("recording 'a': ")
    assert "is gone: restore it" in lines[0]
    assert "has changed: `surgvl archive update` embeds it again" in lines[1]
    assert lines[2].startswith("manifest: ")
    assert len(archive.verify()) == 2
    assert archive.index().counts("video_id") == {"a": 3, "b": 4}


@pytest.mark.slow
def test_archives_are_merged_by_content(archive: Archive, tmp_path: Path) -> None:
    film(tmp_path / "more/a.mp4", 8, 2)
    shutil.copy(tmp_path / "films/b.mp4", tmp_path / "more/same.mp4")
    other = empty_archive(tmp_path / "other")
    other.add([tmp_path / "more"])
    archive.catalogue.set_details("b", who="ada", title="old", surgeon="S")
    other.catalogue.set_details("same", who="bob", title="new")
    other.catalogue.add_label("same", "tag", "t", 0, 1, "bob")
    other.catalogue.add_label("a", "phase", "p", 0, 1, "bob")
    other.catalogue.add_clip("a", 0, 1, "c", "", "bob")
    boxes = [NewLabel("a", "instrument_box", "hook", 2, 3, f"0.{at},0.2,0.3,0.4") for at in (1, 5)]
    other.catalogue.add_labels(boxes, "data set", "boxes")
    report = archive.merge(other)
    assert (report.added, report.unchanged) == (("other/a",), ("b",))
    check_whole(archive)
    assert np.array_equal(archive.vectors_of("other/a")[0], other.vectors_of("a")[0])
    details = archive.catalogue.details("b")
    assert (details.title, details.surgeon) == ("new", "S")
    labels = [(each.recording, each.name, each.who) for each in archive.catalogue.labels()]
    hooks = [("other/a", "hook", "data set")] * 2
    assert labels == [("b", "t", "bob"), ("other/a", "p", "bob"), *hooks]
    assert [each.xywh for each in archive.catalogue.labels("other/a") if each.xywh] == [each.xywh for each in boxes]
    # Once more: nothing is doubled.
    before = (len(archive.catalogue.history("b")), labels, len(archive.catalogue.clips()))
    assert archive.merge(tmp_path / "other").unchanged == ("other/a", "b")
    labels = [(each.recording, each.name, each.who) for each in archive.catalogue.labels()]
    assert (len(archive.catalogue.history("b")), labels, len(archive.catalogue.clips())) == before
    with pytest.raises(ConfigError, match="cannot be merged with itself"):
        archive.merge(archive)
    write_meta(other.space.vectors, other.space.meta.model_copy(update={"stride_s": 2.0}))
    with pytest.raises(ConfigError, match="other are 2 s apart, those of .* 1 s"):
        archive.merge(tmp_path / "other")
    other.close()


@pytest.mark.slow
def test_what_people_entered_is_exported(archive: Archive, tmp_path: Path) -> None:
    archive.catalogue.set_details("a", who="ada", tags=["x", "y"], notes="first\nsecond")
    archive.catalogue.add_label("a", "phase", "preparation", 0, 2, "ada")
    archive.catalogue.add_label("a", "phase", "clipping", 1.5, 3, "bob")
    archive.catalogue.add_clip("b", 1, 2, "clip", "note", "ada")
    box = NewLabel("b", "instrument_box", "hook", 0, 1, "0.1,0.2,0.3,0.4")
    archive.catalogue.add_labels([box], "data set", "a box")
    assert archive.export(tmp_path / "out", ["csv", "vtt", "eaf", "manifest"]) == {}

    def table(name: str) -> list[dict[str, str]]:
        with (tmp_path / "out" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    assert [(row["recording"], row["name"], row["end_s"], row["who"]) for row in table("labels.csv")] == [
        ("a", "preparation", "2.0", "ada"),
        ("a", "clipping", "3.0", "bob"),
        ("b", "hook", "1.0", "data set"),
    ]
    assert [row["xywh"] for row in table("labels.csv")] == ["", "", box.xywh]
    assert [(row["recording"], row["tags"], row["notes"]) for row in table("details.csv")] == [
        ("a", "x, y", "first\nsecond"),
        ("b", "", ""),
    ]
    assert [row["field"] for row in table("history.csv")] == ["tags", "notes"]
    assert [(row["recording"], row["title"]) for row in table("clips.csv")] == [("b", "clip")]
    # Films have 5 frames a second: frame 7 is the last before 1.5 s.
    rows = [(row["name"], row["first_frame"], row["last_frame"]) for row in table("labels/a.csv")]
    assert rows == [("preparation", "0", "7"), ("clipping", "8", "14")]
    assert "preparation" in (tmp_path / "out/labels/a.eaf").read_text()
    assert [row["xywh"] for row in table("labels/b.csv")] == [box.xywh]
    manifest = Manifest.load(tmp_path / "out/manifest")
    assert manifest.second_labels("phase", ["a", "a", "b"], [1.0, 2.5, 1.0]) == [["preparation"], ["clipping"], []]
    assert [(each.video_id, each.xywh) for each in manifest.segments if each.xywh] == [("b", box.xywh)]
    assert manifest.path_of("a").resolve() == (tmp_path / "films/a.mp4").resolve()
    with pytest.raises(ConfigError, match="--formats must be one of"):
        archive.export(tmp_path / "else", ["elan"])
    (tmp_path / "films/a.mp4").unlink()
    assert list(archive.export(tmp_path / "again", ["vtt"])) == ["a"]


@pytest.mark.slow
def test_files_of_labels_lie_below_the_folder_whatever_the_ids(archive: Archive, tmp_path: Path) -> None:
    for id in ("/elsewhere/x", "../../up", "week 1/video"):
        archive.catalogue.put(replace(archive.catalogue.row("a"), id=id, content=id))
        archive.catalogue.add_label(id, "tag", "t", 0, 1, "ada")
    archive.export(tmp_path / "out", ["csv"])
    found = {path.relative_to(tmp_path / "out/labels").as_posix() for path in (tmp_path / "out/labels").rglob("*.csv")}
    assert found == {"elsewhere/x.csv", "up.csv", "week 1/video.csv"}
    assert not list(tmp_path.glob("up.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [True, False])
def test_an_archive_that_lost_its_catalogue_keeps_its_vectors(archive: Archive, is_there: bool) -> None:
    archive.close()
    path = archive.folder / "catalogue.sqlite"
    path.unlink()
    if is_there:
        path.touch()
    with pytest.raises(DataError, match="restore a copy of it"):
        Archive.open(archive.folder)
    assert (path.exists(), len(list(archive.space.vectors.glob("shard-*")))) == (is_there, 4)


@pytest.mark.slow
def test_damaged_questions_are_named(archive: Archive) -> None:
    (archive.folder / "questions.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"questions.parquet cannot be read .*: restore a copy, or delete it"):
        archive.verify()


@pytest.mark.slow
def test_files_that_arrive_are_added_once_they_are_whole(archive: Archive, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    whole = film(tmp_path / "made/c.mp4", 5, 2).read_bytes()
    reports: list[Report] = []
    stop, grown = threading.Event(), threading.Event()

    def told(report: Report) -> None:
        # The first look at which the file is found whole comes after its last bytes.
        assert grown.is_set()
        reports.append(report)
        stop.set()

    watcher = threading.Thread(
        target=lambda: archive.watch(inbox, told, interval_s=0.05, should_stop=stop.is_set), daemon=True
    )
    watcher.start()
    (inbox / "c.mp4").write_bytes(whole[: len(whole) // 2])
    stop.wait(0.4)
    grown.set()
    (inbox / "c.mp4").write_bytes(whole)
    watcher.join(patience(20))
    assert [report.added for report in reports] == [("c",)]
    assert states(archive)["c"] == "embedded"
    with pytest.raises(DataError, match="is not a folder"):
        archive.watch(tmp_path / "none", told)


@pytest.mark.slow
def test_recordings_that_share_footage_are_named(archive: Archive, tmp_path: Path) -> None:
    film(tmp_path / "films/c.mp4", 4, 9)
    # The plain model's vectors follow from the first bytes of a file: a free box at its end makes another file of it.
    (tmp_path / "films/d.mp4").write_bytes((tmp_path / "films/c.mp4").read_bytes() + b"\0\0\0\x08free")
    archive.add([tmp_path / "films"])
    assert len(archive.catalogue.rows()) == 4
    found = archive.duplicates(least_s=5)
    assert [(each.recording, each.other, each.offset_s) for each in found] == [("c", "d", 0)]
