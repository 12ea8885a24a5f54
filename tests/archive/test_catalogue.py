"""Case details, labels, saved clips and jobs: history, cuts, undo, conditions."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgvl.archive.catalogue import Catalogue
from surgvl.archive.filters import admitted, resolve
from surgvl.archive.label_table import NewLabel, latest
from surgvl.archive.recording_table import FileRow
from surgvl.archive.records import Label
from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval.where import Where


def row(id: str, duration_s: float = 100.0) -> FileRow:
    return FileRow(id, f"{id}.mp4", f"hash of {id}", 9, 9, 25.0, duration_s, 64, 48, 1.0, "embedded", source="ward")


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    found = Catalogue(tmp_path / "catalogue.sqlite")
    for id in ("a", "b", "c"):
        found.put(row(id))
    yield found
    found.close()


def spans(catalogue: Catalogue, who: str = "") -> list[tuple[str, float, float]]:
    return [(each.name, each.start_s, each.end_s) for each in catalogue.labels("a") if not who or each.who == who]


def test_details_have_a_history_and_can_be_undone(catalogue: Catalogue) -> None:
    catalogue.set_details("a", who="ada", procedure="cholecystectomy", tags=["teaching", " teaching ", "rare"])
    after = catalogue.set_details("a", who="bob", procedure="appendectomy", date="2024-03")
    assert (after.procedure, after.date, after.tags) == ("appendectomy", "2024-03", ("teaching", "rare"))
    assert catalogue.details("a") == after
    assert [(each.field, each.value, each.who) for each in catalogue.history("a")] == [
        ("procedure", "cholecystectomy", "ada"),
        ("tags", ("teaching", "rare"), "ada"),
        ("procedure", "appendectomy", "bob"),
        ("date", "2024-03", "bob"),
    ]
    assert catalogue.undo("bob") == "procedure, date of a"
    assert catalogue.details("a").procedure == "cholecystectomy"
    assert [each.is_undone for each in catalogue.history("a")] == [False, False, True, True]
    # What does not change anything is no change.
    catalogue.set_details("a", who="ada", procedure="cholecystectomy")
    assert len(catalogue.history("a")) == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"date": "13.3.2024"}, "date must be YYYY-MM-DD, YYYY-MM or YYYY, got '13.3.2024'"),
        ({"date": "2023-02-29"}, "date must be"),
        ({"title": "two\nlines"}, "title must be one line"),
        ({"surgeon": "x" * 201}, "surgeon must have at most 200 characters, got 201"),
    ],
)
def test_wrong_details_are_refused(catalogue: Catalogue, given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        catalogue.set_details("a", who="ada", **given)
    assert not catalogue.history("a")


def test_a_phase_cuts_what_the_same_person_said(catalogue: Catalogue) -> None:
    catalogue.add_label("a", "phase", "one", 0, 50, "ada")
    catalogue.add_label("a", "phase", "other", 10, 90, "bob")
    catalogue.add_label("a", "phase", "two", 20, 30, "ada")
    catalogue.add_label("a", "tag", "bleeding", 0, 100, "ada")
    assert spans(catalogue, "bob") == [("other", 10, 90)]
    pieces = [("one", 0, 20), ("two", 20, 30), ("one", 30, 50)]
    assert spans(catalogue, "ada") == sorted([*pieces, ("bleeding", 0, 100)], key=lambda each: each[1:])
    catalogue.add_label("a", "phase", "three", 10, 60, "ada")
    assert spans(catalogue, "ada")[1:] == [("bleeding", 0, 100), ("three", 10, 60)]
    assert catalogue.undo("ada").startswith("phase 'Three' of a from 0:00:10.0")
    assert catalogue.undo("ada").startswith("tag 'bleeding'")
    assert spans(catalogue, "ada") == pieces
    assert catalogue.undo("ada").startswith("phase 'Two'")
    assert catalogue.undo("ada").startswith("phase 'One'")
    assert catalogue.undo("ada") == ""
    catalogue.add_label("b", "phase", "ClippingCutting", 0, 1, "ada")
    assert catalogue.undo("ada").startswith("phase 'Clipping and cutting' of b from 0:00:00.0")
    assert spans(catalogue) == [("other", 10, 90)]


def test_removals_can_be_undone(catalogue: Catalogue) -> None:
    label = catalogue.add_label("a", "tag", "x", 0, 1, "ada")
    clip = catalogue.add_clip("b", 5, 9, "nice", "", "ada")
    catalogue.remove_label(label, "bob")
    catalogue.remove_clip(clip, "bob")
    assert not catalogue.labels()
    assert not catalogue.clips()
    with pytest.raises(DataError, match="no label"):
        catalogue.remove_label(label, "bob")
    assert catalogue.undo("bob") == "removal of a clip of b"
    assert catalogue.undo("bob") == "removal of tag 'x' of a"
    assert [each.id for each in catalogue.labels()] == [label]
    assert [(each.id, each.title, each.who) for each in catalogue.clips("b")] == [(clip, "nice", "ada")]


@pytest.mark.parametrize("span", [(5, 5), (-1, 5), (99, 120), (100, 101), (float("nan"), 5)])
def test_a_range_lies_in_its_recording(catalogue: Catalogue, span: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="a range must"):
        catalogue.add_label("a", "tag", "x", *span, "ada")
    with pytest.raises(ConfigError, match="a range must"):
        catalogue.add_clip("a", *span, "", "", "ada")
    assert not catalogue.labels()


def test_the_latest_word_counts_and_nothing_overlaps() -> None:
    made = [("x", 0, 100, 1), ("y", 20, 40, 2), ("z", 30, 60, 3), ("x", 90, 95, 4)]
    labels = [Label(n, "a", "phase", name, a, b, "w", at) for n, (name, a, b, at) in enumerate(made)]
    labels.append(Label(9, "a", "tag", "t", 0, 100, "w", 0))
    found = [(each.name, each.start_s, each.end_s) for each in latest(labels) if each.track == "phase"]
    # By hand: each second has the name of the last label that covers it.
    assert found == [("x", 0, 20), ("y", 20, 30), ("z", 30, 60), ("x", 60, 90), ("x", 90, 95), ("x", 95, 100)]
    assert [each.name for each in latest(labels) if each.track == "tag"] == ["t"]


def test_conditions_become_recordings_and_spans(catalogue: Catalogue) -> None:
    catalogue.set_details("a", who="ada", procedure="p", surgeon="S1", date="2024", tags=["t", "u"])
    catalogue.set_details("b", who="ada", procedure="p", surgeon="S2", date="2024-03-05")
    catalogue.add_label("b", "tag", "t", 10, 20, "ada")
    catalogue.add_label("b", "phase", "clip", 15, 40, "ada")
    catalogue.add_label("c", "phase", "clip", 0, 9, "ada")
    everything = {"a", "b", "c"}
    expected: list[tuple[Where, set[str]]] = [
        (Where(), everything),
        (Where(procedure="p"), {"a", "b"}),
        (Where(source="ward"), everything),
        (Where(source="none"), set()),
        (Where(surgeon="S2"), {"b"}),
        (Where(date_from="2024-03-06"), {"a"}),
        (Where(date_from="2024-03", date_to="2024-03"), {"a", "b"}),
        (Where(date_to="2023"), set()),
        (Where(tags=("t",)), {"a", "b"}),
        (Where(tags=("t", "u")), {"a"}),
        (Where(phase="clip"), {"b", "c"}),
        (Where(phase="clip", tags=("t",)), {"b"}),
        (Where(phase="clip", span_s=(50, 60)), set()),
        (Where(recordings=("c",), phase="clip"), {"c"}),
        (Where(span_s=(100, 200)), set()),
    ]
    for where, ids in expected:
        assert admitted(catalogue, where) == ids, where
        assert not resolve(catalogue, where).of_archive
    assert resolve(catalogue, Where(phase="clip", tags=("t",))).spans == (("b", 15, 20),)


def test_jobs_wait_run_and_end(catalogue: Catalogue) -> None:
    jobs = catalogue.jobs
    first, second = jobs.add("add", {"paths": ["x"]}), jobs.add("export", [])
    waiting = jobs.first_waiting()
    assert waiting is not None
    assert (waiting.id, waiting.what, waiting.begun_s) == (first, {"paths": ["x"]}, None)
    jobs.begin(first)
    jobs.progress(first, 3, 9)
    assert (jobs.get(first).state, jobs.get(first).done, jobs.get(first).total) == ("running", 3, 9)
    jobs.requeue()
    assert jobs.get(first).state == "waiting"
    jobs.end(first, "failed", "disk full")
    assert jobs.get(first).problem == "disk full"
    assert [job.id for job in jobs.list()] == [second, first]
    with pytest.raises(DataError, match="no job 77"):
        jobs.get(77)


def test_two_connections_and_many_threads_lose_nothing(catalogue: Catalogue) -> None:
    other = Catalogue(catalogue.path)
    threads = [
        threading.Thread(target=lambda each, number: each.add_label("a", "tag", f"{number}", 0, 1, "w"), args=(each, n))
        for n in range(20)
        for each in (catalogue, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(catalogue.labels("a")) == len(other.labels("a")) == 40
    other.close()


def test_a_file_that_is_no_catalogue_and_one_of_the_future_are_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be looked at by SQLite" * 20)
    with pytest.raises(DataError, match="is not a catalogue"):
        Catalogue(tmp_path / "text")
    catalogue.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="catalogue version 99, this surgvl reads 2: update surgvl"):
        Catalogue(catalogue.path)


def test_a_catalogue_from_before_boxes_keeps_its_labels(catalogue: Catalogue) -> None:
    catalogue.add_label("a", "tag", "old", 0, 1, "ada")
    catalogue.execute("ALTER TABLE labels DROP COLUMN xywh")
    catalogue.execute("PRAGMA user_version = 1")
    for _ in range(2):
        again = Catalogue(catalogue.path)
        assert [(each.name, each.xywh) for each in again.labels("a")][0] == ("old", "")
        again.add_labels([NewLabel("a", "instrument_box", "hook", 2, 3, "0.1,0.2,0.3,0.4")], "ada", "a box")
        assert again.labels("a")[-1].xywh == "0.1,0.2,0.3,0.4"
        again.close()


def test_a_full_disk_is_named_and_later_changes_are_kept(catalogue: Catalogue) -> None:
    catalogue.execute("PRAGMA max_page_count = 1")
    with pytest.raises(DataError, match="database or disk is full"):
        catalogue.set_details("a", who="ada", notes="x" * 20_000)
    catalogue.execute("PRAGMA max_page_count = 1000000")
    catalogue.set_details("a", who="ada", title="t")
    other = Catalogue(catalogue.path)
    assert (other.details("a").notes, other.details("a").title) == ("", "t")
    other.close()
