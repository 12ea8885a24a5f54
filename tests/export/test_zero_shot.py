"""Intervals against labels frame by frame; what an online system could know."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgvl import prompts
from surgvl.api import DualModel
from surgvl.core.errors import ConfigError
from surgvl.export.interval_table import IntervalTable
from surgvl.export.zero_shot import ClassSet, ClipVectors, TimelineConfig, Track, interval_table, tracks
from surgvl.metrics.temporal import smooth
from surgvl.video.clip import Preprocess
from surgvl.video.frame_times import FrameTimes, frame_times
from tests.helpers.made_duals import tiny_dual

PHASES = prompts.load("phantom_phase")
TRIPLETS = prompts.load("phantom_triplet")


@pytest.mark.parametrize("seed", range(5))
def test_intervals_say_for_each_frame_what_its_clip_says(seed: int) -> None:
    dice = np.random.default_rng(seed)
    # Some frames last for several clips, others for a fraction of one.
    times_s = np.cumsum(dice.choice([0.04, 0.3, 1.0, 3.5], 120)) - 0.04
    frames = FrameTimes(times_s - times_s[0], float(times_s[-1] - times_s[0] + 1), 25.0)
    begins_s = np.arange(int(frames.end_s))
    chances = dice.dirichlet([0.3] * 4, len(begins_s))
    edges = np.array([*map(frames.first_from, begins_s.tolist()), len(frames)])
    names = ["a", "b", "c", "d"]
    clip_of = np.searchsorted(begins_s, frames.times_s + 1e-6, side="right") - 1
    for is_exclusive in (True, False):
        rows = list(Track("t", "made", names, chances, is_exclusive).intervals(edges, frames, 0.3))
        held = np.zeros((len(frames), 4), bool)
        for row in rows:
            span = slice(row.first_frame, row.last_frame + 1)
            assert not held[span, names.index(row.name)].any()
            held[span, names.index(row.name)] = True
            assert (row.start_s, row.end_s) == (frames.begin_s(row.first_frame), frames.begin_s(row.last_frame + 1))
            clips = np.unique(clip_of[span])
            assert row.confidence == pytest.approx(chances[clips, names.index(row.name)].mean(), abs=1e-6)
        said = np.arange(4) == chances.argmax(1)[:, None] if is_exclusive else chances >= 0.3
        assert (held == said[clip_of]).all()
        assert [row.start_s for row in rows] == sorted(row.start_s for row in rows)
        touching = [(a.name, b.name) for a in rows for b in rows if a.end_s == b.start_s]
        assert all(before != after for before, after in touching), "neighbours of one class are one interval"


def test_tools_are_the_triplets_of_an_instrument() -> None:
    dice = np.random.default_rng(0)
    names = [row.name for row in TRIPLETS.classes]
    vectors, classes = dice.normal(size=(7, 16)), dice.normal(size=(len(names), 16))
    config = TimelineConfig(smooth_s=3.0)
    given = [ClassSet(TRIPLETS, names, classes.astype(np.float32))]
    clips = ClipVectors(vectors.astype(np.float32), np.arange(7, dtype=np.float64), np.arange(7, dtype=np.float64), 1.0)
    triplet, tool = tracks(clips, given, 2.0, config)
    cosines = smooth(vectors @ classes.T, np.arange(7.0), np.zeros(7, int), 3.0, False)
    powers = np.exp(2.0 * cosines)
    want = powers / powers.sum(1, keepdims=True)
    assert np.allclose(triplet.probabilities, want, atol=1e-6)
    assert np.allclose(tool.probabilities.sum(1), 1)
    hook = tool.classes.index("hook")
    mine = [at for at, name in enumerate(names) if name.startswith("hook,")]
    assert np.allclose(tool.probabilities[:, hook], want[:, mine].sum(1), atol=1e-6)
    assert (tool.name, tool.is_exclusive, triplet.is_exclusive) == ("tool", False, False)


def test_two_sets_of_a_kind_are_two_tracks(variable: Path) -> None:
    other = PHASES.model_copy(update={"name": "mine", "version": 3})
    sets = [ClassSet(each, ["x", "y"], np.eye(2, dtype=np.float32)) for each in (PHASES, other)]
    eye = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    cut = Preprocess(num_frames=4, fps=4.0, size_px=16)
    clips = ClipVectors.of_segments(eye, [0, 1, 2, 3], [1, 2, 3, 4], cut, causal=False)
    found = interval_table(variable, clips, sets, 10.0, TimelineConfig(smooth_s=0), "m")
    assert found.origin.prompt_sets == {"phantom_phase": "phantom_phase 1", "mine": "mine 3"}
    assert set(found.classes) == {row.track for row in found} == {"phantom_phase", "mine"}
    frames = frame_times(variable)
    border = frames.begin_s(frames.first_from(2.0))
    assert [(row.name, row.start_s, row.end_s) for row in found if row.track == "mine"] == [
        ("x", 0.0, border),
        ("y", border, frames.end_s),
    ]


def pictures(folder: Path, seeds: list[int]) -> Path:
    """A second of one picture after another."""
    folder.mkdir()
    for number, seed in enumerate(seeds):
        noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(noise).resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")
    return folder


@pytest.mark.slow
def test_an_online_timeline_does_not_depend_on_what_comes_later(tmp_path: Path) -> None:
    model = DualModel(tiny_dual(), Preprocess(num_frames=4, fps=2.0, size_px=16), tmp_path, "cpu")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    same = list(range(12))
    videos = [pictures(tmp_path / name, same + more) for name, more in (("a", [1] * 9), ("b", [*range(90, 99)]))]

    def until(found: IntervalTable, frame: int) -> set[tuple[str, str, int]]:
        spans = [(row, range(row.first_frame, min(frame, row.last_frame + 1))) for row in found]
        return {(row.track, row.name, at) for row, span in spans for at in span}

    sets = [model.class_set(name) for name in ("phantom_phase", "phantom_triplet")]

    def timelines(causal: bool) -> list[IntervalTable]:
        return [model.timeline(each, sets, causal=causal, smooth_s=6.0, threshold=0.012) for each in videos]

    first, second = timelines(causal=True)
    assert len({row.name for row in first}) > 3
    assert until(first, 12) == until(second, 12)
    assert until(first, 21) != until(second, 21)
    assert first.origin.protocol == "online"
    # Nothing is known before the first clip ends.
    assert min(row.start_s for row in first) >= 0.5
    first, second = timelines(causal=False)
    assert until(first, 12) != until(second, 12)
    assert (first.origin.protocol, first[0].start_s) == ("offline", 0.0)


def test_values_out_of_range_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"--smooth_s must be between 0 and 3600, got -1"):
        TimelineConfig(smooth_s=-1)
    with pytest.raises(ConfigError, match=r"--threshold must be between 0 and 1, got 2"):
        TimelineConfig(threshold=2)
