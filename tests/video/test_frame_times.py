"""Times of frames against every container decoded in order; a clock of one rate for tools that know no other."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.frame_times import FrameTimes, frame_times
from tests.helpers.numbered_videos import EVEN, FILES, brute_force


def truth(path: Path) -> list[float]:
    """When each frame begins; the times of a decoded AVI are out of order."""
    return [at / 25 for at in EVEN] if path.suffix == ".avi" else [time_s for time_s, _ in brute_force(path)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_times_are_those_of_the_decoded_frames(name: str, numbered_file: Callable[[str], Path]) -> None:
    path = numbered_file(name)
    found, want = frame_times(path), truth(path)
    assert found.times_s.tolist() == pytest.approx(want, abs=1e-6)
    assert found.end_s == pytest.approx(video.probe(path).duration_s, abs=1e-3)
    # Each tick of the clock that a tool would be given shows the right frame.
    for number, (begin_s, end_s) in enumerate(zip(want, [*want[1:], found.end_s], strict=True)):
        shown_s = found.tick(number) / found.clock_fps
        assert begin_s - 1e-3 <= shown_s < end_s
        assert found.first_from(begin_s) == number
        assert found.first_from(begin_s + 1e-3) == number + 1
    assert (found.even_fps is None) == name.startswith("variable")
    assert found.begin_s(250) == found.end_s


@pytest.mark.parametrize("name", ["broadcast.ts", "mpeg2.ts"])
def test_frames_that_a_cut_has_spoilt_are_not_counted(
    name: str, tmp_path: Path, numbered_file: Callable[[str], Path]
) -> None:
    whole, cut = numbered_file(name).read_bytes(), tmp_path / name
    # In the middle of a group of pictures, at a packet of the stream.
    cut.write_bytes(whole[len(whole) // 3 // 188 * 188 :])
    want, found = truth(cut), frame_times(cut)
    assert len(want) < 170
    assert (found.times_s - found.times_s[0]).tolist() == pytest.approx(want, abs=1e-6)
    # Times count from the first stamp, as they do where frames are read.
    assert found.end_s == pytest.approx(video.probe(cut).duration_s, abs=1e-3)


def test_a_steady_rate_is_known_in_spite_of_rounded_stamps() -> None:
    times_s = np.round(np.arange(1000) / 29.97, 3)
    steady = FrameTimes(times_s, 33.4, 29.97)
    assert (steady.even_fps, steady.tick(999)) == (29.97, 999)
    # The header says 30: the rate is that of the stamps.
    other = FrameTimes(times_s, 33.4, 30.0)
    assert other.even_fps == pytest.approx(29.97, abs=1e-3)
    # One frame is late by 0.1 s.
    late = FrameTimes(np.where(np.arange(1000) == 500, times_s + 0.1, times_s + 0.2 * (np.arange(1000) > 500)), 34, 30)
    assert late.even_fps is None
    assert all(math.floor(late.tick(at) / late.clock_fps * 1e6) >= round(late.begin_s(at) * 1e6) for at in range(1000))


def test_images_are_shown_one_after_the_other(tmp_path: Path) -> None:
    for number in (1, 2, 5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    found = frame_times(tmp_path, folder_fps=2.0)
    assert (found.times_s.tolist(), found.end_s, found.clock_fps) == ([0.0, 0.5, 1.0], 1.5, 2.0)
    assert len(frame_times(tmp_path / "2.png")) == 1


def test_a_truncated_file_is_refused(tmp_path: Path, numbered_file: Callable[[str], Path]) -> None:
    whole = numbered_file("fragments.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.mp4 is truncated"):
        frame_times(cut)
