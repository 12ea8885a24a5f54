"""Adding recordings: known by content, set aside, moved, changed, removed, stopped and resumed."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.records import Progress
from surgvl.core.arrays import Float32Array
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.files import write_text
from surgvl.core.locks import locked
from surgvl.data.manifest import Manifest
from surgvl.embed.recordings import Shards
from surgvl.embed.vectors import Vectors
from tests.helpers.made_archive import empty_archive, film, opened, plain_embedder, vectors_of


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.mp4", "case 1/video.mp4", "case 2/video.mp4"), 1):
        film(tmp_path / "films" / name, number, number + 1)
    return tmp_path / "films"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return empty_archive(tmp_path / "archive")


def states(archive: Archive) -> dict[str, str]:
    return {each.id: each.state for each in archive.recordings()}


def check_whole(archive: Archive) -> None:
    """Catalogue, vectors, index and manifest say the same."""
    counts = {id: len(archive.vectors_of(id)[0]) for id, state in states(archive).items() if state == "embedded"}
    assert archive.index().counts("video_id") == counts
    vectors = Vectors.load(archive.space.vectors)
    assert sorted(set(vectors.video_ids)) == sorted(counts)
    assert Manifest.load(archive.folder / "manifest").hash == archive.manifest().hash


@pytest.mark.slow
def test_files_of_folders_become_recordings_that_can_be_searched(archive: Archive, films: Path) -> None:
    ticks: list[Progress] = []
    report = archive.add([films], tick=ticks.append)
    assert report.added == ("a", "case 1/video", "case 2/video")
    assert not report.aside
    assert states(archive) == dict.fromkeys(report.added, "embedded")
    check_whole(archive)
    found, start_s, end_s = archive.vectors_of("case 2/video")
    assert np.abs(found - vectors_of(films / "case 2/video.mp4", 4)).max() < 1e-3
    assert (start_s.tolist(), end_s.tolist()) == ([0, 1, 2, 3], [1, 2, 3, 4])
    best = archive.index().search(found[2], 1)[0]
    assert best.video_id == "case 2/video"
    assert best.score == pytest.approx(1, abs=1e-3)
    last = ticks[-1]
    assert (last.done_s, last.total_s, last.num_done, last.num_total) == (9, 9, 3, 3)
    assert [tick.done_s for tick in ticks] == sorted(tick.done_s for tick in ticks)
    recording = archive.recording("a")
    assert (recording.duration_s, recording.fps, recording.path) == (2, 5, (films / "a.mp4").resolve())


@pytest.mark.slow
def test_known_files_are_not_embedded_again(archive: Archive, films: Path, tmp_path: Path) -> None:
    archive.add([films])
    archive.catalogue.set_details("a", who="me", title="first")
    # Its model is none of this machine.
    archive = Archive.open(archive.folder)
    with pytest.raises(CheckpointError):
        print(archive.embedder)
    assert archive.add([films]).unchanged == ("a", "case 1/video", "case 2/video")
    (films / "a.mp4").rename(tmp_path / "renamed.mp4")
    assert states(archive)["a"] == "missing"
    shutil.copy(films / "case 1/video.mp4", films / "copy.mp4")
    report = archive.add([tmp_path / "renamed.mp4", films / "copy.mp4"])
    assert (report.moved, report.unchanged, report.added) == (("a",), (), ())
    assert report.copies == {str((films / "copy.mp4").resolve()): "case 1/video"}
    assert archive.path_of("a") == (tmp_path / "renamed.mp4").resolve()
    assert archive.recording("a").title == "first"
    check_whole(archive)


@pytest.mark.slow
def test_of_two_new_files_with_the_same_content_one_is_a_copy(archive: Archive, films: Path) -> None:
    shutil.copy(films / "a.mp4", films / "b.mp4")
    report = archive.add([films])
    assert report.added == ("a", "case 1/video", "case 2/video")
    assert report.copies == {str((films / "b.mp4").resolve()): "a"}
    check_whole(archive)


@pytest.mark.slow
def test_a_changed_file_keeps_its_id_and_labels(archive: Archive, films: Path) -> None:
    archive.add([films])
    archive.catalogue.add_label("a", "phase", "preparation", 0, 1, "me")
    film(films / "a.mp4", 7, 4)
    report = archive.update()
    assert (report.updated, report.unchanged) == (("a",), ("case 1/video", "case 2/video"))
    assert archive.recording("a").duration_s == 4
    assert len(archive.vectors_of("a")[0]) == 4
    assert [label.name for label in archive.catalogue.labels("a")] == ["preparation"]
    check_whole(archive)


@pytest.mark.slow
def test_what_cannot_be_read_is_set_aside_until_it_can(archive: Archive, films: Path) -> None:
    (films / "text.mp4").write_text("no video")
    whole = (films / "a.mp4").read_bytes()
    (films / "a.mp4").write_bytes(whole + b"bad")
    report = archive.add([films, films / "absent.mp4"])
    assert [Path(path).name for path in report.aside] == ["absent.mp4", "text.mp4", "a.mp4"]
    assert states(archive) == {"a": "failed", "case 1/video": "embedded", "case 2/video": "embedded", "text": "failed"}
    assert "damaged at 1.0 s" in archive.recording("a").problem
    check_whole(archive)
    (films / "a.mp4").write_bytes(whole)
    again = archive.update()
    assert again.updated == ("a",)
    assert [Path(path).name for path in again.aside] == ["text.mp4"]
    assert states(archive)["a"] == "embedded"
    check_whole(archive)


@pytest.mark.slow
def test_stopped_adding_goes_on_where_it_stopped(archive: Archive, films: Path) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 6

    report = archive.add([films], should_stop=should_stop)
    assert report.stopped
    assert states(archive) == {"a": "embedded", "case 1/video": "waiting", "case 2/video": "waiting"}
    check_whole(archive)
    assert not archive.update().stopped
    assert set(states(archive).values()) == {"embedded"}
    check_whole(archive)


@pytest.mark.slow
def test_a_few_clips_come_first(archive: Archive, films: Path) -> None:
    seen: list[dict[str, str]] = []
    archive.add([films], tick=lambda _: seen.append(states(archive)), coarse=True)
    # At first that all are known, then one after the other.
    assert set(seen[0].values()) == {"waiting"}
    assert sorted(seen[1].values())[:2] == ["coarse", "waiting"]
    assert set(seen[len(seen[0])].values()) == {"coarse"}
    assert set(states(archive).values()) == {"embedded"}
    check_whole(archive)


@pytest.mark.slow
def test_removed_recordings_leave_nothing_but_their_files(archive: Archive, films: Path) -> None:
    archive.add([films])
    archive.catalogue.add_label("a", "tag", "nameless patient", 0, 1, "me")
    archive.catalogue.add_clip("a", 0, 1, "clip", "note", "me")
    with pytest.raises(DataError, match="no recording 'b'"):
        archive.remove(["a", "b"])
    archive.remove(["a"])
    assert sorted(states(archive)) == ["case 1/video", "case 2/video"]
    assert not archive.catalogue.labels()
    assert not archive.catalogue.clips()
    check_whole(archive)
    with pytest.raises(DataError, match="no vectors"):
        archive.vectors_of("a")
    archive.close()
    assert b"nameless patient" not in (archive.folder / "catalogue.sqlite").read_bytes()
    assert (films / "a.mp4").exists()


@pytest.mark.slow
def test_a_second_writer_is_told_who_writes_and_readers_go_on(archive: Archive, films: Path) -> None:
    archive.add([films / "a.mp4"])
    with locked(archive.folder):
        with pytest.raises(ConfigError, match=r"is being written by .* \(process \d+"):
            archive.add([films])
        with pytest.raises(ConfigError, match="being written"):
            archive.remove(["a"])
        assert archive.index().search(archive.vectors_of("a")[0][0], 1)[0].video_id == "a"
        archive.catalogue.add_label("a", "tag", "x", 0, 1, "me")
        archive.catalogue.set_details("a", who="me", notes="while another writes")


@pytest.mark.slow
def test_another_process_sees_what_was_added(archive: Archive, films: Path) -> None:
    reader = opened(archive.folder)
    archive.add([films / "a.mp4"])
    before = reader.index()
    assert before.counts("video_id") == {"a": 2}
    archive.add([films])
    assert len(reader.index()) == 9
    assert reader.index() is reader.index()
    # A search on the version that was handed out before still ends.
    assert before.search(reader.vectors_of("a")[0][0], 1)[0].video_id == "a"


@pytest.mark.slow
def test_archive_and_films_can_be_moved_together(archive: Archive, films: Path, tmp_path: Path) -> None:
    archive.add([films])
    archive.close()
    for name in ("archive", "films"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    again = opened(tmp_path / "elsewhere" / "archive")
    assert set(states(again).values()) == {"embedded"}
    assert again.add([tmp_path / "elsewhere" / "films"]).unchanged == ("a", "case 1/video", "case 2/video")


def test_no_video_and_no_archive_are_said_in_a_line(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no video below"):
        archive.add([tmp_path / "empty"])
    with pytest.raises(DataError, match="is not an archive"):
        Archive.open(tmp_path / "empty")
    with pytest.raises(ConfigError, match="is an archive already"):
        empty_archive(archive.folder)


@pytest.mark.slow
def test_what_is_added_outlasts_a_loss_of_power(archive: Archive, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is on the disk before it gets its name, and its name before anything else is written."""
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(opened: int) -> None:
        events.append(("fsync", os.readlink(f"/proc/self/fd/{opened}")))
        fsync(opened)

    def note_replace(old: Path, new: Path) -> None:
        events.append(("replace", str(old)))
        replace(old, new)
        events.append(("named", str(Path(new).parent)))

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    archive.add([films / "a.mp4"])
    names = [at for at, (kind, _) in enumerate(events) if kind == "replace"]
    assert len([at for at in names if "shard-00000" in events[at][1]]) == 2
    for at in names:
        assert events[at - 1] == ("fsync", events[at][1])
        assert events[at + 2] == ("fsync", events[at + 1][1])
    assert archive.catalogue.select("PRAGMA synchronous") == [(2,)]
    # Elsewhere nobody waits for the disk.
    events.clear()
    write_text(archive.folder.parent / "note.txt", "x")
    assert [kind for kind, _ in events] == ["replace", "named"]


@pytest.mark.slow
def test_the_manifest_has_the_labels_of_whoever_is_done(archive: Archive, films: Path) -> None:
    archive.add([films])
    before = Manifest.load(archive.folder / "manifest").hash
    reader = Archive.open(archive.folder)
    reader.recordings()
    reader.close()
    assert Manifest.load(archive.folder / "manifest").hash == before
    archive.catalogue.add_label("a", "phase", "Preparation", 0, 1, who="me")
    archive.close()
    (row,) = Manifest.load(archive.folder / "manifest").segments
    assert (row.video_id, row.task, row.label, row.start_s, row.end_s) == ("a", "phase", "Preparation", 0, 1)


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_a_recording(archive: Archive, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def full(shards: Shards, id: str, *_: object) -> None:
        asked.append(id)
        raise DataError("shard-00000 cannot be written: check the free space")

    with monkeypatch.context() as patched:
        patched.setattr(Shards, "write", full)
        with pytest.raises(DataError, match="check the free space"):
            archive.add([films])
    # The others are not read in vain, and none is set aside.
    assert asked == ["a"]
    assert set(states(archive).values()) == {"waiting"}
    archive.update()
    assert set(states(archive).values()) == {"embedded"}
    check_whole(archive)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, np.inf])
def test_a_recording_without_usable_vectors_is_set_aside(archive: Archive, films: Path, value: float) -> None:
    plain = plain_embedder()

    def seconds(path: Path, tick: Callable[[float], object]) -> tuple[Float32Array, list[float], list[float]]:
        found, starts, ends = plain.seconds(path, tick)
        if path.name == "a.mp4":
            found[1] = value
        return found, starts, ends

    archive.embedder = replace(plain, seconds=seconds)
    report = archive.add([films])
    assert [line.partition(": ")[2] for line in report.aside.values()] == [
        "vector 1 is zero or not finite: check the model"
    ]
    assert sorted(states(archive).values()) == ["embedded", "embedded", "failed"]
    check_whole(archive)
