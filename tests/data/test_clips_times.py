"""Times of the frames of a clip, computed by hand, and that these frames are read, from file and from cache."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from surgvl import video
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import DataError
from surgvl.data.clip_times import ClipConfig, clip_times, gaps
from surgvl.data.clips import PretrainClips, collate
from surgvl.data.frame_store import FrameStore, decode_runs
from tests.helpers.numbered_videos import IRREGULAR, brute_force, encode, number_in, shown


def dice() -> np.random.Generator:
    return np.random.default_rng(0)


def times(
    at_s: float, duration_s: float, stride: str, anchor: str, num_frames: int = 5, step_s: float = 1.0
) -> list[float]:
    found: list[float] = clip_times(at_s, duration_s, num_frames, step_s, stride, anchor, dice()).tolist()
    return found


# ---- strides


def test_strides_are_those_of_the_paper() -> None:
    assert gaps("fixed", 5, dice()).tolist() == [1, 1, 1, 1]
    assert gaps("exponential", 6, dice()).tolist() == [1, 2, 4, 8, 16]
    # The code takes 1 for the first step, whose 0 would repeat the frame.
    assert gaps("incremental", 6, dice()).tolist() == [1, 2, 4, 6, 8]
    drawn = gaps("random", 5001, dice())
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4, 5]
    assert counts.min() > 850
    assert gaps("fixed", 1, dice()).tolist() == []


def test_a_stride_is_counted_back_from_the_last_frame_in_seconds() -> None:
    assert times(50, 100, "fixed", "causal", step_s=0.25) == [49, 49.25, 49.5, 49.75, 50]
    assert times(50, 100, "exponential", "causal") == [35, 43, 47, 49, 50]
    assert times(50, 100, "incremental", "causal") == [37, 43, 47, 49, 50]
    assert times(50, 100, "exponential", "causal", step_s=0.5) == [42.5, 46.5, 48.5, 49.5, 50]


# ---- anchors


def test_a_causal_clip_ends_at_its_anchor_and_the_first_reachable_frame_repeats() -> None:
    assert times(3, 100, "fixed", "causal") == [0, 0, 1, 2, 3]
    assert times(2.5, 100, "fixed", "causal") == [0.5, 0.5, 0.5, 1.5, 2.5]
    assert times(0, 100, "fixed", "causal") == [0, 0, 0, 0, 0]
    # Steps of 1, 2 and 4 end at 3; one of 8 would leave the video.
    assert times(10, 100, "exponential", "causal") == [3, 3, 7, 9, 10]
    # The last moment of a video is an anchor like others, and so is one of a video that is shorter than the clip.
    assert times(99.9, 100, "fixed", "causal")[-1] == 99.9
    assert times(1.5, 2, "fixed", "causal") == [0.5, 0.5, 0.5, 0.5, 1.5]


def test_a_centred_clip_lies_around_its_anchor_and_within_the_video() -> None:
    # Five frames of a second each last from 47.5 to 52.5.
    assert times(50, 100, "fixed", "centred") == [47.5, 48.5, 49.5, 50.5, 51.5]
    assert times(1, 100, "fixed", "centred") == [0, 1, 2, 3, 4]
    assert times(99, 100, "fixed", "centred") == [95, 96, 97, 98, 99]
    # 16 s: from 42 to 58.
    assert times(50, 100, "exponential", "centred") == [42, 50, 54, 56, 57]
    assert times(1, 3, "fixed", "centred") == [0, 0, 0, 1, 2]
    assert times(0.1, 0.5, "fixed", "centred") == [0, 0, 0, 0, 0]


def test_a_random_clip_holds_its_anchor_at_any_place() -> None:
    rng = np.random.default_rng(5)
    places = []
    for _ in range(500):
        found = clip_times(50, 100, 4, 1.0, "fixed", "random", rng)
        assert np.allclose(np.diff(found), 1)
        places.append(50 - found[0])
    assert 0 <= min(places) < 0.1
    assert 3.9 < max(places) <= 4
    assert np.mean(places) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("stride", ["fixed", "random", "exponential", "incremental"])
@pytest.mark.parametrize("anchor", ["causal", "centred", "random"])
def test_all_times_lie_in_the_video_and_never_go_back(stride: str, anchor: str) -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        duration_s, step_s = rng.uniform(0.2, 60), rng.choice([0.25, 1 / 3, 1.0, 4.0])
        at_s, num_frames = rng.uniform(0, duration_s), int(rng.integers(1, 17))
        found = clip_times(at_s, duration_s, num_frames, step_s, stride, anchor, rng)
        assert found.shape == (num_frames,)
        assert found[0] >= 0
        assert found[-1] < duration_s
        assert (np.diff(found) >= 0).all()
        if anchor == "causal":
            assert found[-1] == at_s
        elif gaps(stride, num_frames, rng).sum() * step_s + step_s < duration_s and stride != "random":
            assert (np.diff(found) > 0).all()


# ---- frames


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """250 pictures that say their number: 25 a second for 10 s, and at irregular times over half a minute."""
    root = tmp_path_factory.mktemp("numbered")
    encode(root / "even.mp4", list(range(250)))
    encode(root / "odd.mp4", IRREGULAR, Fraction(1, 100))
    return {"even": root / "even.mp4", "odd": root / "odd.mp4"}


def numbers(clip: UInt8Array) -> list[int]:
    return [number_in(frame) for frame in clip]


@pytest.mark.parametrize("name", ["even", "odd"])
def test_frames_at_any_times_are_those_shown_then(numbered: dict[str, Path], name: str) -> None:
    truth = brute_force(numbered[name])
    store = FrameStore(numbered, 5.0, 48)
    store.prepare()
    end_s = store.durations_s[name]
    rng = np.random.default_rng(1)
    grid = np.arange(int(end_s * 5)) / 5
    asked = [rng.choice(grid, 8), rng.uniform(0, end_s, 8), rng.choice(grid, 5) + 0.003, np.array([end_s - 0.01])]
    asked += [clip_times(at_s, end_s, 8, 0.2, stride, "causal", rng) for at_s in (0.3, 5.0, end_s - 1e-3)
              for stride in ("fixed", "random", "exponential", "incremental")]  # fmt: skip
    for times_s in asked:
        clip = store.frames_at(name, times_s)
        assert clip.shape == (len(times_s), 48, 48, 3)
        assert clip.dtype == np.uint8
        # Pictures stamped within half a millisecond after a time may count as shown.
        allowed = [{shown(truth, at_s, 1e-7), shown(truth, at_s, 5.1e-4)} for at_s in times_s]
        assert all(number in right for number, right in zip(numbers(clip), allowed, strict=True)), times_s


def test_the_last_frame_is_held_and_what_is_no_time_refused(numbered: dict[str, Path], tmp_path: Path) -> None:
    for cache in (None, tmp_path):
        store = FrameStore({"even": numbered["even"]}, 5.0, 48, cache=cache)
        store.prepare()
        last = 249 if cache is None else 245
        assert numbers(store.frames_at("even", [9.0, 9.99, 10.3, 12.0])) == [225, last, last, last]
        # As where a header promises a little more than there is.
        assert numbers(store.frames_at("even", [10.2])) == [last]
        for times_s in ([], [-0.1], [np.nan], [[0.0]]):
            with pytest.raises(DataError, match="times must be finite seconds >= 0, got"):
                store.frames_at("even", times_s)


def test_a_store_gives_the_latest_frame_that_it_has(numbered: dict[str, Path], tmp_path: Path) -> None:
    stored, direct = FrameStore(numbered, 5.0, 48, cache=tmp_path), FrameStore(numbered, 5.0, 48)
    assert stored.prepare() == direct.prepare() == ["even", "odd"]
    grid = np.array([7.4, 0.0, 0.2, 3.0, 3.0, 9.6])
    for name in numbered:
        assert np.array_equal(stored.frames_at(name, grid), direct.frames_at(name, grid))
    assert numbers(stored.frames_at("even", [0.19, 0.2, 0.39])) == [0, 5, 5]


def test_times_on_one_grid_are_decoded_in_one_go(numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store = FrameStore(numbered, 5.0, 48)
    store.prepare()
    asked: list[tuple[float, float, float]] = []
    read = video.VideoReader.read

    def listening(
        self: video.VideoReader, start_s: float, end_s: float, fps: float, size_px: int, crop: None
    ) -> UInt8Array:
        asked.append((fps, round(start_s, 6), round(end_s, 6)))
        return read(self, start_s, end_s, fps, size_px, crop)

    monkeypatch.setattr(video.VideoReader, "read", listening)
    assert numbers(store.frames_at("even", [1.0, 1.8, 2.2, 3.4])) == [25, 45, 55, 85]
    # Gaps of 4, 2 and 6 fifths: all of them lie on 2.5 samples a second.
    assert asked == [(2.5, 1.0, 3.8)]
    split = decode_runs(np.array([0.0, 0.2, 6.0, 6.2, 6.3, 6.5]), 5.0)
    assert [part.tolist() for part in split] == [[0.0, 0.2], [6.0, 6.2], [6.3, 6.5]]


# ---- clips


def test_a_causal_clip_shows_nothing_later_than_its_anchor(numbered: dict[str, Path], tmp_path: Path) -> None:
    for cache in (None, tmp_path):
        store = FrameStore({"even": numbered["even"]}, 5.0, 48, cache=cache)
        store.prepare()
        data = PretrainClips(store, ["even"], 6, 0, config=ClipConfig(stride="random", anchor="causal"))
        for index in range(10):
            _, times_s = data.times(index)
            clip = data[index]
            assert (clip["start_s"], clip["end_s"]) == (times_s[0], times_s[-1] + 0.2)
            seen = numbers(clip["video"].permute(1, 2, 3, 0).numpy())
            grid = 0.2 if store else 0.04
            # A frame appears at its number / 25 s: before the time asked for, by less than what lies between two.
            late_s = times_s - np.array(seen) / 25
            assert late_s.min() > -6e-4
            assert late_s.max() < grid


def test_a_step_of_seconds_is_apart_from_the_rate_of_the_source(numbered: dict[str, Path]) -> None:
    store = FrameStore({"even": numbered["even"]}, 5.0, 48)
    store.prepare()
    data = PretrainClips(store, ["even"], 3, 0, config=ClipConfig(step_s=0.8))
    assert data.clip_s == pytest.approx(2.4)
    seen = numbers(data[0]["video"].permute(1, 2, 3, 0).numpy())
    assert np.diff(seen).tolist() == [20, 20]


def test_repeated_samples_share_one_decode_and_are_alike_to_the_bit(
    numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FrameStore({"even": numbered["even"]}, 5.0, 48)
    store.prepare()
    decoded: list[float] = []
    clip = FrameStore.clip

    def counting(self: FrameStore, video_id: str, start_s: float, num_frames: int) -> UInt8Array:
        decoded.append(start_s)
        return clip(self, video_id, start_s, num_frames)

    monkeypatch.setattr(FrameStore, "clip", counting)
    config = ClipConfig(repeats=4)
    four = PretrainClips(store, ["even"], 2, 0, config=config)
    batch = collate([four[index] for index in range(8, 16)])
    assert len(decoded) == 2
    video_batch = batch["video"].view(2, 4, *batch["video"].shape[1:])
    assert torch.equal(video_batch, video_batch[:, :1].expand_as(video_batch))
    assert not torch.equal(video_batch[0, 0], video_batch[1, 0])
    again = collate([PretrainClips(store, ["even"], 2, 0, config=config)[index] for index in range(8, 16)])
    assert torch.equal(again["video"], batch["video"])
    assert again["start_s"] == batch["start_s"]


def test_the_whole_length_of_a_video_is_seen() -> None:
    # 9.9 s hold two clips of 4 s: what is left over belongs to them.
    store = FrameStore({}, 1.0, 8)
    store.durations_s = {"v": 9.9}
    data = PretrainClips(store, ["v"], 4, 0, config=ClipConfig(anchor="causal"))
    last = np.sort([data.times(index)[1][-1] for index in range(4000)])
    assert len(data.rows) == 2
    assert np.abs(last / 9.9 - (np.arange(4000) + 0.5) / 4000).max() < 0.04


def test_a_store_takes_names_as_long_as_a_folder_takes_them(tmp_path: Path) -> None:
    colours = {"x" * 251: 40, "x" * 250 + "y": 200, "é" * 120: 90, "lap/" + "z" * 251: 140}
    paths = {}
    for name, grey in colours.items():
        paths[name] = tmp_path / f"{name}.mp4"
        paths[name].parent.mkdir(exist_ok=True)
        video.write(paths[name], np.full((10, 32, 32, 3), grey, np.uint8), 5.0)
    store = FrameStore(paths, 5.0, 32, cache=tmp_path / "store")
    assert (store.prepare(), store.problems) == (list(colours), {})
    for name, grey in colours.items():
        assert abs(float(store.clip(name, 0.5, 2).mean()) - grey) < 8
