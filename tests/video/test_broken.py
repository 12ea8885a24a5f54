"""Files that are not videos, arguments out of range, truncated files, and what cannot be written."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.content_area import Image
from tests.helpers.numbered_videos import EVEN, colourful, encode, number_in, picture


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent.mp4": (lambda path: None, "does not exist: check the path"),
    "zero.mp4": (lambda path: path.touch(), "is empty .0 bytes.: copy it again"),
    "notes.mp4": (lambda path: path.write_text("hello\n" * 500), "cannot be opened as a video"),
    "random.mp4": (lambda path: path.write_bytes(random.Random(0).randbytes(5000)), "cannot be opened as a video"),
    "sound.mp4": (audio_only, "holds audio but no video"),
    "playlist.m3u8": (
        lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"),
        "cannot be opened as a video",
    ),
    "empty_folder": (lambda path: path.mkdir(), "holds no image"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_a_video_is_one_line(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    make, message = BROKEN[name]
    make(path)
    for call in (
        lambda: video.probe(path),
        lambda: video.read(path, 0, 1, 1, 8),
        lambda: list(video.stream(path, 1, 8)),
        lambda: video.content_box(path),
    ):
        with pytest.raises(DataError, match=message) as caught:
            call()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_s": -1.0}, "start_s must be a finite number of seconds >= 0, got -1.0"),
        ({"start_s": float("nan")}, "start_s must be .*, got nan"),
        ({"start_s": 3.0}, "end_s must be a finite number of seconds >= start_s 3.0, got 2.0"),
        ({"end_s": float("nan")}, "end_s must be .*, got nan"),
        ({"end_s": float("inf")}, "end_s must be .*, got inf"),
        ({"start_s": 2.0}, "ends at 2.00 s: start_s 2.00 is past the end"),
        ({"start_s": 5e5, "end_s": 6e5}, "ends at 2.00 s"),
        ({"fps": 0.0}, "fps must be > 0 samples per second, got 0.0"),
        ({"fps": float("nan")}, "fps must be .*, got nan"),
        ({"size_px": 0}, "size_px must be >= 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    path = tmp_path / "short.mp4"
    video.write(path, map(picture, range(20)), 10)
    given = {"start_s": 0.0, "end_s": 2.0, "fps": 1.0, "size_px": 8} | arguments
    with pytest.raises(DataError, match=message):
        video.read(path, **given)
    with pytest.raises(DataError, match=message):
        list(video.stream(path, **given))


@pytest.mark.slow
def test_a_file_cut_in_the_middle_gives_its_good_frames_then_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    video.write(whole, colourful(250), 25, gop=25)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    truth = {time_s: image for time_s, image in video.stream(whole, 25, 32)}
    good: list[float] = []
    pictures = video.stream(path, 25, 32)
    with pytest.raises(DataError, match=r"cut\.mp4 is truncated or damaged.*copy it again") as caught:
        good.extend(time_s for time_s, image in pictures if (image == truth[time_s]).all())
    assert "\n" not in str(caught.value)
    assert 75 < len(good) < 200
    assert good == [index / 25 for index in range(len(good))]
    np.testing.assert_array_equal(video.read(path, 1.0, 2.0, 25, 32)[3], truth[1.12])
    for start_s in (good[-1] - 0.2, good[-1] + 1.0, 9.5):
        with pytest.raises(DataError, match="truncated"):
            video.read(path, start_s, start_s + 0.5, 25, 32)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".flv"])
def test_a_cut_file_of_another_container_never_goes_on_silently(tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    encode(whole, EVEN)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    good: list[int] = []
    try:
        good.extend(number_in(image) for _, image in video.stream(path, 25, 48))
    except DataError:
        assert good == EVEN[: len(good)]
    else:
        # A transport stream holds no length, and of an AVI that lost its index libav guesses one from the file's size:
        # their end is just earlier, and of the last four pictures (a P-frame and three B-frames) some can be missing.
        assert suffix in (".ts", ".avi")
        assert good[:-4] == EVEN[: len(good) - 4]
    assert 100 < len(good) < 200


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([], {}, "no frame to write"),
        ([np.zeros((9, 8, 3), np.uint8)], {}, "frames are 8x9 px.*crop them to 8x8"),
        ([np.zeros((8, 8), np.uint8)], {}, r"frames must be uint8 .*, got uint8 \[8, 8\]"),
        ([np.zeros((8, 8, 3), np.float32)], {}, "got float32"),
        (
            [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)],
            {},
            "frame 1 is uint8 .8, 10, 3.; all frames must be",
        ),
        ([np.zeros((16, 16, 3), np.uint8)], {"fps": 0.0}, "fps must be > 0 frames per second, got 0.0"),
        (
            [np.zeros((16, 16, 3), np.uint8)],
            {"preset": "quickest"},
            "preset must be one of ultrafast, .*; got 'quickest'",
        ),
        ([np.zeros((16, 16, 3), np.uint8)], {"crf": 52}, "crf must be 0 to 51 and gop >= 1, got crf 52 and gop 48"),
        ([np.zeros((16, 16, 3), np.uint8)], {"gop": 0}, "gop >= 1, got crf 23 and gop 0"),
        ([np.zeros((4, 20000, 3), np.uint8)], {}, "cannot be written"),
    ],
)
def test_write_refuses_and_leaves_the_old_file(
    tmp_path: Path, frames: list[Image], options: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.mp4"
    path.write_bytes(b"old")
    with pytest.raises(DataError, match=message):
        video.write(path, frames, **({"fps": 10.0} | options))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_a_source_that_fails_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Image]:
        yield from colourful(3)
        raise RuntimeError("camera")

    with pytest.raises(RuntimeError, match="camera"):
        video.write(tmp_path / "new.mp4", failing(), 10)
    assert list(tmp_path.iterdir()) == []
