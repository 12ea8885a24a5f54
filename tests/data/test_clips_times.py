"""Frames of clips, computed by hand, and that these frames are read, from file and from cache."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from surgvl import video
from surgvl.core.arrays import Int64Array, UInt8Array
from surgvl.core.errors import DataError
from surgvl.data.clips import PretrainClips, collate
from surgvl.data.frame_store import FrameStore, decode_runs
from surgvl.data.sampler import ClipConfig, clip_numbers, gaps
from surgvl.video.clip import Anchor, Preprocess
from tests.helpers.numbered_videos import IRREGULAR, brute_force, encode, number_in, shown


def dice() -> np.random.Generator:
    return np.random.default_rng(0)


def clips(num_frames: int = 5, fps: float = 1.0, anchor: Anchor = "centre", step_s: float = 1.0) -> Preprocess:
    return Preprocess(num_frames=num_frames, fps=fps, size_px=48, anchor=anchor, step_s=step_s)


def times(
    at_s: float, duration_s: float, stride: str, anchor: Anchor, num_frames: int = 5, gap_s: float = 1.0
) -> list[float]:
    """Times of a clip's frames, `gap_s` apart where the stride is 1."""
    preprocess = clips(num_frames, 1 / gap_s, anchor)
    found: list[float] = (clip_numbers(preprocess, at_s, duration_s, stride, dice()) / preprocess.grid_fps).tolist()
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
    # No overflow in a clip of 64 frames.
    assert gaps("exponential", 64, dice()).min() == 1


def test_a_stride_is_counted_back_from_the_last_frame_in_seconds() -> None:
    assert times(50, 100, "fixed", "last", gap_s=0.25) == [49, 49.25, 49.5, 49.75, 50]
    assert times(50, 100, "fixed", "last", gap_s=4) == [34, 38, 42, 46, 50]
    assert times(50, 100, "exponential", "last") == [35, 43, 47, 49, 50]
    assert times(50, 100, "incremental", "last") == [37, 43, 47, 49, 50]
    assert times(50, 100, "exponential", "last", gap_s=0.5) == [42.5, 46.5, 48.5, 49.5, 50]


# ---- anchors


def test_a_clip_of_the_past_ends_at_its_anchor_and_the_first_reachable_frame_repeats() -> None:
    assert times(3, 100, "fixed", "last") == [0, 0, 1, 2, 3]
    # Frames 4 s apart on a grid of seconds: from 10 s one comes to 2 s.
    assert times(10, 100, "fixed", "last", gap_s=4) == [2, 2, 2, 6, 10]
    assert times(0, 100, "fixed", "last") == [0, 0, 0, 0, 0]
    # Steps of 1, 2 and 4 end at 3; one of 8 would leave the video.
    assert times(10, 100, "exponential", "last") == [3, 3, 7, 9, 10]
    # The last frame of a video is an anchor like others, and so is one of a video that is shorter than the clip.
    assert times(99.9, 100, "fixed", "last")[-1] == 99
    assert times(100, 100, "fixed", "last")[-1] == 99
    assert times(1.5, 2, "fixed", "last") == [0, 0, 0, 0, 1]


def test_a_centred_clip_lies_around_its_anchor_and_within_the_video() -> None:
    # Five frames of a second each last from 47.5 to 52.5: on the grid, from 48 on.
    assert times(50, 100, "fixed", "centre") == [48, 49, 50, 51, 52]
    assert times(1, 100, "fixed", "centre") == [0, 1, 2, 3, 4]
    assert times(99, 100, "fixed", "centre") == [95, 96, 97, 98, 99]
    # 16 s: from 42 to 58.
    assert times(50, 100, "exponential", "centre") == [42, 50, 54, 56, 57]
    assert times(1, 3, "exponential", "centre") == [1, 1, 1, 1, 2]
    # A shorter video is shown from its start, and its last frame is held.
    assert times(1, 3, "fixed", "centre") == [0, 1, 2, 3, 4]


def test_a_clip_of_the_future_starts_at_its_anchor_and_lies_within_the_video() -> None:
    assert times(50.4, 100, "fixed", "first") == [50, 51, 52, 53, 54]
    assert times(98, 100, "fixed", "first") == [95, 96, 97, 98, 99]
    assert times(50, 100, "exponential", "first") == [50, 58, 62, 64, 65]


@pytest.mark.parametrize("stride", ["fixed", "random", "exponential", "incremental"])
@pytest.mark.parametrize("anchor", ["last", "centre", "first"])
def test_frames_never_go_back_and_a_clip_of_the_past_ends_at_its_moment(stride: str, anchor: Anchor) -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        duration_s, fps = rng.uniform(0.2, 60), rng.choice([4.0, 3.0, 1.0, 0.25])
        at_s, preprocess = rng.uniform(0, duration_s), clips(int(rng.integers(1, 17)), float(fps), anchor)
        found = clip_numbers(preprocess, at_s, duration_s, stride, rng)
        assert found.shape == (preprocess.num_frames,)
        assert found[0] >= 0
        assert (np.diff(found) >= 0).all()
        step = preprocess.stride
        if stride != "fixed" or anchor == "last":
            assert found[-1] / preprocess.grid_fps < duration_s
        if anchor == "last":
            late_s = at_s - found[-1] / preprocess.grid_fps
            assert -1e-6 <= late_s < 1 / preprocess.grid_fps
        elif gaps(stride, preprocess.num_frames, rng).sum() * step + step < duration_s and stride != "random":
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


def store_of(
    paths: dict[str, Path], fps: float = 5.0, cache: Path | None = None, anchor: Anchor = "centre", num_frames: int = 5
) -> FrameStore:
    found = FrameStore(paths, clips(num_frames, fps, anchor), cache)
    found.prepare()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["even", "odd"])
def test_frames_of_the_grid_are_those_shown_then(numbered: dict[str, Path], name: str) -> None:
    truth = brute_force(numbered[name])
    store = store_of(numbered)
    end_s = store.durations_s[name]
    rng = np.random.default_rng(1)
    asked: list[Int64Array] = [rng.integers(0, int(end_s * 5), 8), np.array([int(end_s * 5) - 1])]
    asked += [
        clip_numbers(clips(8, 5.0, "last"), at_s, end_s, stride, rng)
        for at_s in (0.3, 5.0, end_s - 1e-3)
        for stride in ("fixed", "random", "exponential", "incremental")
    ]
    for grid in asked:
        clip = store.frames(name, grid)
        assert clip.shape == (len(grid), 48, 48, 3)
        assert clip.dtype == np.uint8
        # Pictures stamped within half a millisecond after a time may count as shown.
        allowed = [{shown(truth, at_s, 1e-7), shown(truth, at_s, 5.1e-4)} for at_s in grid / 5]
        assert all(number in right for number, right in zip(numbers(clip), allowed, strict=True)), grid


@pytest.mark.slow
def test_the_last_frame_is_held_and_numbers_below_0_are_refused(numbered: dict[str, Path], tmp_path: Path) -> None:
    for cache in (None, tmp_path):
        store = store_of({"even": numbered["even"]}, cache=cache)
        assert numbers(store.frames("even", np.array([45, 49, 51, 60]))) == [225, 245, 245, 245]
        for wrong in ([], [-1]):
            with pytest.raises(DataError, match="numbers of frames must be >= 0, got"):
                store.frames("even", np.array(wrong, np.int64))


@pytest.mark.slow
@pytest.mark.parametrize("fps", [5.0, 0.4, 2.3])
@pytest.mark.parametrize("anchor", ["last", "centre", "first"])
def test_file_and_cache_give_equal_clips(numbered: dict[str, Path], tmp_path: Path, fps: float, anchor: Anchor) -> None:
    stored, direct = (store_of(numbered, fps, cache, anchor) for cache in (tmp_path, None))
    for name in numbered:
        for moment_s in np.arange(0.1, direct.durations_s[name], 1.9).tolist():
            assert stored.key(name, moment_s) == direct.key(name, moment_s)
            key = direct.key(name, moment_s)
            assert np.array_equal(stored.clip(key), direct.clip(key)), moment_s


@pytest.mark.slow
def test_frames_that_share_a_coarser_grid_are_decoded_in_one_go(
    numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(numbered)
    asked: list[tuple[float, float, float]] = []
    read = video.VideoReader.read

    def listening(
        self: video.VideoReader, start_s: float, end_s: float, fps: float, size_px: int, crop: None
    ) -> UInt8Array:
        asked.append((fps, round(start_s, 6), round(end_s, 6)))
        return read(self, start_s, end_s, fps, size_px, crop)

    monkeypatch.setattr(video.VideoReader, "read", listening)
    assert numbers(store.frames("even", np.array([5, 9, 11, 17]))) == [25, 45, 55, 85]
    # Gaps of 4, 2 and 6 fifths: all of them lie on 2.5 samples a second.
    assert asked == [(2.5, 1.0, 3.8)]
    split = decode_runs(np.array([0, 1, 30, 31, 32]), 5.0)
    assert [part.tolist() for part in split] == [[0, 1], [30, 31, 32]]


# ---- clips


@pytest.mark.slow
def test_a_clip_of_the_past_shows_nothing_later_than_its_last_frame(numbered: dict[str, Path], tmp_path: Path) -> None:
    for cache in (None, tmp_path):
        store = store_of({"even": numbered["even"]}, cache=cache, anchor="last", num_frames=6)
        data = PretrainClips(store, ["even"], 0, config=ClipConfig(stride="random"))
        for index in range(10):
            _, grid = data.numbers(index)
            clip = data[index]
            assert (clip["start_s"], clip["end_s"]) == pytest.approx((grid[0] / 5, grid[-1] / 5 + 0.2))
            seen = numbers(clip["video"].permute(1, 2, 3, 0).numpy())
            assert seen == [5 * number for number in grid]


@pytest.mark.slow
def test_clips_are_drawn_at_every_step_however_far_apart_their_frames_are(numbered: dict[str, Path]) -> None:
    """Frames 2.5 s apart, and clips that end at each of the seconds."""
    store = store_of({"even": numbered["even"]}, 0.4, anchor="last", num_frames=3)
    data = PretrainClips(store, ["even"], 0)
    seen = [numbers(data[index]["video"].permute(1, 2, 3, 0).numpy()) for index in range(60)]
    # The grid has 1.2 frames a second, the coarsest that contains both.
    assert store.fps == pytest.approx(1.2)
    assert len({clip[-1] for clip in seen}) == 12
    for clip in seen:
        assert all(gap == 0 or abs(gap - 62.5) <= 1 for gap in np.diff(clip)), clip


def test_repeated_samples_share_one_decode_and_are_alike_to_the_bit(
    numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of({"even": numbered["even"]}, num_frames=2)
    decoded: list[str] = []
    frames = FrameStore.frames

    def counting(self: FrameStore, video_id: str, grid: Int64Array) -> UInt8Array:
        decoded.append(video_id)
        return frames(self, video_id, grid)

    monkeypatch.setattr(FrameStore, "frames", counting)
    config = ClipConfig(repeats=4)
    four = PretrainClips(store, ["even"], 0, config=config)
    batch = collate([four[index] for index in range(8, 16)])
    assert len(decoded) == 2
    video_batch = batch["video"].view(2, 4, *batch["video"].shape[1:])
    assert torch.equal(video_batch, video_batch[:, :1].expand_as(video_batch))
    assert not torch.equal(video_batch[0, 0], video_batch[1, 0])
    again = collate([PretrainClips(store, ["even"], 0, config=config)[index] for index in range(8, 16)])
    assert torch.equal(again["video"], batch["video"])
    assert again["start_s"] == batch["start_s"]


@pytest.mark.slow
def test_the_whole_length_of_a_video_is_seen() -> None:
    # 9.9 s hold two clips of 4 s: what is left over belongs to them.
    store = FrameStore({}, Preprocess(num_frames=400, fps=100.0, size_px=8, anchor="last"))
    store.durations_s = {"v": 9.9}
    data = PretrainClips(store, ["v"], 0)
    last = np.sort([data.numbers(index)[1][-1] / 100 for index in range(2000)])
    assert len(data.rows) == 2
    assert np.abs(last / 9.9 - (np.arange(2000) + 0.5) / 2000).max() < 0.04


def test_a_store_takes_names_as_long_as_a_folder_takes_them(tmp_path: Path) -> None:
    colours = {"x" * 251: 40, "x" * 250 + "y": 200, "é" * 120: 90, "lap/" + "z" * 251: 140}
    paths = {}
    for name, grey in colours.items():
        paths[name] = tmp_path / f"{name}.mp4"
        paths[name].parent.mkdir(exist_ok=True)
        video.write(paths[name], np.full((10, 32, 32, 3), grey, np.uint8), 5.0)
    store = FrameStore(paths, clips(2, 5.0), tmp_path / "store")
    assert (store.prepare(), store.problems) == (list(colours), {})
    for name, grey in colours.items():
        assert abs(float(store.clip(store.key(name, 0.5)).mean()) - grey) < 8
