"""Recordings that a model does not understand are told, and no moment of them is called strong."""

from dataclasses import replace

import numpy as np
import pytest

from surgvl.archive import foreign
from surgvl.archive.archive import Archive
from surgvl.commands.search import search
from surgvl.core.arrays import Float32Array
from surgvl.embed.vectors import unit
from surgvl.retrieval.moments import Moment, SearchResults
from tests.helpers.made_archive import empty_archive, film

NUM = 40


def seconds_of(dice: np.random.Generator, first: int) -> Float32Array:
    """One vector a second, in four of the eight dimensions."""
    rows = np.zeros((NUM, 8), np.float32)
    rows[:, first : first + 4] = dice.normal(size=(NUM, 4))
    return unit(rows)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Six recordings: four of one kind, one of another, and one whose frames are all alike."""
    home, dice = tmp_path_factory.mktemp("foreign"), np.random.default_rng(0)
    made = empty_archive(home / "archive")
    known = {name: seconds_of(dice, 0) for name in "abcd"} | {"other": seconds_of(dice, 4)}
    known["flat"] = np.tile(known["a"][:1], (NUM, 1))
    times, ends = [float(at) for at in range(NUM)], [at + 1.0 for at in range(NUM)]
    made.embedder = replace(made.embedder, seconds=lambda path, tick: (known[path.stem], times, ends))
    made.add([film(home / f"{name}.mp4", number, NUM) for number, name in enumerate(known, 1)])
    return made


@pytest.mark.slow
def test_recordings_unlike_the_others_are_told(archive: Archive) -> None:
    said = {row.id: archive.foreign.why(row) for row in archive.recordings()}
    assert [said[name] for name in "abcd"] == [""] * 4
    assert said["other"].startswith("Unlike the other recordings of this archive (100% of its clips")
    assert "cannot tell the frames" in said["flat"]
    assert archive.foreign.why(replace(archive.recording("other"), state="waiting")) == ""


@pytest.mark.slow
def test_a_model_of_rendered_videos_knows_no_others(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "labels_trained_on", lambda model, manifest: "rendered videos")
    found, row = foreign.Foreign(archive), archive.recording("a")
    assert "rendered videos alone" in found.why(row)
    assert found.why(replace(row, rendered=True)) == ""


@pytest.mark.slow
def test_no_moment_of_a_foreign_recording_is_strong(archive: Archive) -> None:
    def moment(id: str, odds: int) -> Moment:
        return Moment(id, "", 0, 1, 0.9, "", "", odds)

    given = SearchResults([moment("a", 900), moment("other", 900), moment("flat", 30), moment("flat", 2)], "As it is.")
    found = archive.foreign.marked(given)
    assert [each.word for each in given] == ["strong", "strong", "maybe", "weak"]
    assert [each.word for each in found] == ["strong", "maybe", "maybe", "weak"]
    assert [each.odds for each in found] == [900, 900, 30, 2]
    assert found.remark == "As it is. Recordings that are foreign to the model have no strong moments."
    assert archive.foreign.marked(SearchResults(given[:1], "As it is.")).remark == "As it is."
    # One that was removed meanwhile cannot be compared.
    assert archive.foreign.marked(SearchResults([moment("gone", 900)])).remark == ""


def test_the_terminal_says_the_same(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    in_index = archive.index().search(archive.index().vector_of(("other", 5.0, 6.0)), 3, exclude=[("other", 3.0, 8.0)])
    assert [each.word for each in in_index] == ["strong"] * 3
    assert {each.video_id for each in in_index} == {"other"}
    found = search(archive=archive.folder, like=["other@5-6"], k=3)
    said = capsys.readouterr().out
    assert found
    assert "strong" not in [each.word for each in found if each.video_id == "other"]
    assert "foreign to the model have no strong moments" in said
    assert search(archive=archive.folder, like=["other@5-6"], k=3, least="strong", video="other") == []
