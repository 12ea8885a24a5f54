"""What the page says about a whole recording follows from its vectors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.chat.answerer import Answer, Question
from surgvl.core.errors import ConfigError
from surgvl.demo.answering import Blind, moments, place
from surgvl.demo.insights import Insights, strip
from surgvl.demo.schemas import Phase
from surgvl.demo.timeline import _alone
from surgvl.embed.vectors import unit
from surgvl.export.interval_table import Interval
from tests.helpers.made_archive import empty_archive, film


@pytest.mark.slow
def test_the_strip_tiles_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = empty_archive(tmp_path / "archive")
    archive.add([film(tmp_path / "a.mp4")])
    vectors, times = unit(np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)), np.arange(60.0)
    monkeypatch.setattr(archive, "vectors_of", lambda id: (vectors, times, times + 1))
    row = replace(archive.recording("a"), duration_s=60.0)
    found = Insights(archive).of(row, 10.0)
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


class Parrot:
    """Says its own name about every clip."""

    def __init__(self, name: str) -> None:
        self.name, self.num_asked = name, 0

    def answer(self, questions: list[Question]) -> list[Answer]:
        self.num_asked += len(questions)
        return [Answer(each, self.name) for each in questions]


def test_what_is_said_without_video_is_kept_for_its_model_alone() -> None:
    blind, frames = Blind(), np.zeros((1, 2, 2, 3), np.uint8)
    # Memory of a model that is gone is soon that of another one.
    for name in map(str, range(50)):
        parrot: Any = Parrot(name)
        for count in (2, 3):
            assert [each.text for each in blind.answers(parrot, frames, "Who?")] == [name, name]
            assert parrot.num_asked == count


def test_a_lane_holds_one_action_at_a_time() -> None:
    def row(name: str, start_s: float, end_s: float, confidence: float) -> Interval:
        return Interval("triplet", name, start_s, end_s, 0, 0, confidence)

    rows = [row("hook,cut,a", 0, 10, 0.4), row("hook,cut,b", 5, 15, 0.6), row("hook,cut,c", 15, 20, 0.3),
            row("grasper,grasp,a", 2, 12, 0.3)]  # fmt: skip
    assert [each.name for each in _alone(rows)] == ["grasper,grasp,a", "hook,cut,b", "hook,cut,c"]
