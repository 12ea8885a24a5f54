"""What is said about a whole recording follows from its vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError
from surgvl.demo.answering import moments, place
from surgvl.demo.insights import Insights, strip
from surgvl.demo.schemas import Phase
from surgvl.demo.timeline import _alone
from surgvl.embed.vectors import unit
from surgvl.export.interval_table import Interval
from tests.helpers.made_archive import empty_archive, film


@pytest.fixture
def insights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Insights:
    """Of an archive of six recordings: four of one kind, one of another, and one whose frames are all alike."""
    archive = empty_archive(tmp_path / "archive")
    names = ["a", "b", "c", "d", "other", "flat"]
    archive.add([film(tmp_path / f"{name}.mp4", number, number) for number, name in enumerate(names, 1)])
    dice = np.random.default_rng(0)

    def kind(first: int) -> Float32Array:
        rows = np.zeros((60, 8), np.float32)
        rows[:, first : first + 4] = dice.normal(size=(60, 4))
        return unit(rows)

    known = {name: kind(0) for name in "abcd"} | {"other": kind(4), "flat": np.tile(kind(0)[:1], (60, 1))}
    times = np.arange(60.0)
    monkeypatch.setattr(archive, "vectors_of", lambda id: (known[id], times, times + 1))
    return Insights(archive)


def test_recordings_unlike_the_others_are_told(insights: Insights) -> None:
    archive = insights._archive
    said = {row.id: insights.of(row, 10.0, "").foreign for row in archive.recordings()}
    assert [said[name] for name in "abcd"] == [""] * 4
    assert said["other"].startswith("Unlike the other recordings of this archive (100% of its clips")
    assert "cannot tell the frames" in said["flat"]
    row = archive.recording("a")
    assert "rendered videos alone" in insights.of(row, 10.0, "rendered videos").foreign
    assert insights.of(replace(row, rendered=True), 10.0, "rendered videos").foreign == ""


def test_the_strip_tiles_the_recording(insights: Insights) -> None:
    row = replace(insights._archive.recording("a"), duration_s=60.0)
    found = insights.of(row, 10.0, "")
    parts = strip(found.phases, found.classes)
    assert (parts[0][0], parts[-1][1]) == (0, 60)
    assert [end for _, end, _ in parts[:-1]] == [start for start, _, _ in parts[1:]]
    assert strip([Phase(name="b", start_s=0, end_s=1, confidence=1)], ["a", "b"]) == [(0, 1, 1)]


def test_a_range_is_looked_at_evenly() -> None:
    assert moments(10, 10, 4) == [10]
    assert moments(10, 14, 4) == [12]
    assert moments(0, 100, 4) == [10, 30, 50, 70, 90]
    assert moments(0, 9, 4) == pytest.approx([1.5, 4.5, 7.5])
    assert place(None, None, 60) == (0, 60)
    assert place(99, None, 60) == (60, 60)
    with pytest.raises(ConfigError, match="before it starts"):
        place(5, 4, 60)


def test_a_lane_holds_one_action_at_a_time() -> None:
    def row(name: str, start_s: float, end_s: float, confidence: float) -> Interval:
        return Interval("triplet", name, start_s, end_s, 0, 0, confidence)

    rows = [row("hook,cut,a", 0, 10, 0.4), row("hook,cut,b", 5, 15, 0.6), row("hook,cut,c", 15, 20, 0.3),
            row("grasper,grasp,a", 2, 12, 0.3)]  # fmt: skip
    assert [each.name for each in _alone(rows)] == ["grasper,grasp,a", "hook,cut,b", "hook,cut,c"]
