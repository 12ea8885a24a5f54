"""Where clips lie on their grid: for the recipes that ship, no two moments share a clip, and none shows the future."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

import surgvl
from surgvl.core.errors import ConfigError
from surgvl.embed.windows import read_windows
from surgvl.video.clip import Anchor, Preprocess, extract_clip
from tests.helpers.numbered_videos import encode, number_in

RECIPES = sorted(
    path for path in Path(surgvl.__file__).parent.glob("recipes/*.yaml") if "num_frames" in path.read_text("utf-8")
)


def of_recipe(path: Path) -> Preprocess:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "clip" in config and "num_frames" in config["clip"]:
        # Of a readout, whose encoder has an anchor of its own.
        clip = config["clip"]
        return Preprocess(num_frames=clip["num_frames"], size_px=48, fps=clip["fps"], step_s=clip["every_s"])
    own = {name: config[name] for name in ("fps", "step_s", "anchor") if name in config}
    return Preprocess(num_frames=config["encoder"]["num_frames"], size_px=48, **own)


def clips_of(preprocess: Preprocess, duration_s: float) -> list[tuple[int, ...]]:
    """Frames of the clip of each second."""
    found = []
    for second in range(int(duration_s)):
        place = preprocess.place(preprocess.moment(second, second + 1), duration_s)
        found.append(tuple(preprocess.numbers(place).tolist()))
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_no_two_seconds_of_ten_minutes_share_a_clip(path: Path) -> None:
    preprocess = of_recipe(path)
    found = clips_of(preprocess, 600)
    ends = math.ceil(preprocess.clip_s)
    inner = found[ends : 600 - ends]
    assert len(set(inner)) == len(inner)
    # The frames of a clip are 1 / fps apart.
    assert set(np.unique(np.diff(inner)) / preprocess.grid_fps) <= {1 / preprocess.fps}
    if preprocess.anchor == "last":
        assert len(set(found)) == 600


@pytest.mark.parametrize(
    ("recipe", "anchor", "step_s", "gap_s"),
    [
        ("surgvista", "last", 1, 4),
        ("unisurg_stage1", "last", 1, 1),
        ("unisurg_stage2", "last", 1, 1),
        ("surgrec_mae", "centre", 1, 4),
        ("vjepa", "centre", 1, 0.25),
    ],
)
def test_recipes_ship_the_clips_of_their_papers(recipe: str, anchor: str, step_s: float, gap_s: float) -> None:
    preprocess = of_recipe(next(path for path in RECIPES if path.stem == recipe))
    assert (preprocess.anchor, preprocess.step_s, 1 / preprocess.fps) == (anchor, step_s, gap_s)


@pytest.mark.parametrize("fps", [4.0, 1.0, 0.25, 0.3])
@pytest.mark.parametrize("step_s", [0.5, 1.0, 3.0])
def test_an_online_clip_holds_nothing_after_its_segment_and_its_label_is_that_of_its_last_frame(
    fps: float, step_s: float
) -> None:
    preprocess = Preprocess(num_frames=4, fps=fps, size_px=8, anchor="last", step_s=step_s)
    for segment in range(40):
        start_s, end_s = segment * step_s, (segment + 1) * step_s
        moment_s = preprocess.moment(start_s, end_s)
        times_s = preprocess.times_s(moment_s, 1000)
        assert times_s[-1] == pytest.approx(moment_s)
        assert start_s - 1e-6 <= moment_s < end_s
        # The next frame of the grid belongs to the next segment.
        assert moment_s + 1 / preprocess.grid_fps >= end_s - 1e-6


def test_parts_of_a_clip_are_its_frames_in_order() -> None:
    anchors: list[Anchor] = ["last", "centre", "first"]
    for anchor in anchors:
        whole = Preprocess(num_frames=12, fps=0.5, size_px=8, anchor=anchor)
        for moment_s in (0.0, 3.0, 50.0, 99.0):
            place = whole.place(moment_s, 100)
            joined = [number for part in whole.parts(place, 4) for number in whole.numbers(part, 4).tolist()]
            assert joined == whole.numbers(place).tolist()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 s of 25 frames a second that show their numbers."""
    path = tmp_path_factory.mktemp("grid") / "numbered.mp4"
    encode(path, range(750))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("anchor", ["last", "centre", "first"])
@pytest.mark.parametrize(("fps", "step_s"), [(2.0, 1.0), (0.25, 1.0), (0.3, 2.0)])
def test_streamed_clips_are_those_cut_one_by_one(recording: Path, anchor: Anchor, fps: float, step_s: float) -> None:
    preprocess = Preprocess(num_frames=4, fps=fps, size_px=48, anchor=anchor, step_s=step_s)
    found = list(read_windows(recording, preprocess))
    assert len(found) == int(30 / step_s)
    for start_s, end_s, clip in found[::3]:
        assert end_s - start_s == pytest.approx(step_s)
        moment_s = preprocess.moment(start_s, end_s)
        assert np.array_equal(clip, extract_clip(recording, preprocess, moment_s)), start_s
        want = [min(749, math.floor(25 * time_s + 0.0125)) for time_s in preprocess.times_s(moment_s, 30.0)]
        assert [number_in(frame) for frame in clip] == want


@pytest.mark.slow
def test_eight_clips_of_a_frame_in_four_seconds_differ(recording: Path) -> None:
    """A recipe at 0.25 frames a second: each second has its own clip, where the grid of 4 s gave 8 in 32 s."""
    preprocess = Preprocess(num_frames=4, fps=0.25, size_px=48, anchor="last")
    assert preprocess.grid_fps == 1
    found = {clip.tobytes() for _, _, clip in read_windows(recording, preprocess)}
    assert len(found) == 30


@pytest.mark.parametrize(("name", "value"), [("anchor", "causal"), ("step_s", 0.0), ("step_s", 1e6), ("fps", 0.0)])
def test_what_no_clip_has_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        dataclasses.replace(Preprocess(num_frames=4, fps=1.0, size_px=8), **{name: value})  # type: ignore[arg-type]
