"""Reading and writing: the frame shown at each time in every container, against plain decoding by PyAV and OpenCV."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.content_area import Box, Image
from surgvl.video.frame_times import frame_times
from tests.helpers.numbered_videos import (
    EVEN,
    FILES,
    HEIGHT,
    IRREGULAR,
    WIDTH,
    brute_force,
    colourful,
    encode,
    number_in,
    picture,
    shown,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_read_is_the_frame_shown_whatever_the_container(numbered_file: Callable[[str], Path], name: str) -> None:
    path = numbered_file(name)
    # AVI has no presentation times to compare with; there the times are those it was made with.
    truth = [(index / 25, index) for index in EVEN] if name.endswith(".avi") else brute_force(path)
    assert [number for _, number in truth] == EVEN
    end_s = video.probe(path).duration_s
    assert end_s == pytest.approx(truth[-1][0] + 0.04, abs=0.08 if name.startswith("variable") else 0.001)

    def agrees(clip: Sequence[Image], start_s: float, fps: float) -> bool:
        times = [start_s + index / fps for index in range(len(clip))]
        # Frames stamped within half a millisecond after the sample may count as shown.
        return all(
            number_in(image) in {shown(truth, time_s, 1e-7), shown(truth, time_s, 5.1e-4)}
            for image, time_s in zip(clip, times, strict=True)
        )

    dice = random.Random(1)
    with video.VideoReader(path) as reader:
        for _ in range(12):
            start_s, fps = dice.uniform(0, truth[-1][0]), dice.choice([1.0, 4.0, 12.5, 25.0, 30.0])
            length = dice.randint(1, 12)
            clip = reader.read(start_s, start_s + length / fps, fps, 48)
            assert clip.shape == (length, 48, 48, 3)
            assert clip.dtype == np.uint8
            assert agrees(list(clip), start_s, fps), (start_s, fps)
    for fps in (25.0, 3.0):
        samples = list(video.stream(path, fps, 48))
        assert [time_s for time_s, _ in samples] == [index / fps for index in range(len(samples))]
        assert (len(samples) - 1) / fps < end_s <= len(samples) / fps + 1e-3
        assert agrees([image for _, image in samples], 0.0, fps)


def test_exact_frame_times_show_that_frame(tmp_path: Path) -> None:
    path = tmp_path / "third.mp4"
    video.write(path, map(picture, range(90)), Fraction(30000, 1001).__float__(), preset="ultrafast")
    assert video.probe(path).fps == pytest.approx(30000 / 1001)
    clip = video.read(path, 0.0, 90 * 1001 / 30000, 30000 / 1001, 48)
    assert [number_in(image) for image in clip] == list(range(90))


@pytest.mark.slow
def test_a_trimmed_file_starts_where_its_edit_list_says(tmp_path: Path) -> None:
    whole, trimmed = tmp_path / "whole.mp4", tmp_path / "trimmed.mp4"
    encode(whole, EVEN)
    with av.open(str(whole)) as source, av.open(str(trimmed), "w", options={"avoid_negative_ts": "disabled"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        shift = int(Fraction(10, 25) / (source.streams.video[0].time_base or 1))
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                copy.mux(packet)
    truth = brute_force(trimmed)
    assert truth[0] == (0.0, 10)
    assert number_in(video.read(trimmed, 0.0, 0.0, 1, 48)[0]) == 10
    assert [number_in(image) for image in video.read(trimmed, 4.0, 4.4, 25, 48)] == list(range(110, 120))
    assert video.probe(trimmed).duration_s == pytest.approx(9.6)
    found = frame_times(trimmed)
    assert found.times_s.tolist() == pytest.approx([time_s for time_s, _ in truth])
    assert found.end_s == pytest.approx(9.6)


@pytest.mark.slow
def test_stream_equals_repeated_read_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "variable.mp4"
    encode(path, IRREGULAR, Fraction(1, 100))
    streamed = list(video.stream(path, 5, 32, start_s=2.1, end_s=6.1))
    assert len(streamed) == 20
    for time_s, image in streamed:
        np.testing.assert_array_equal(video.read(path, time_s, time_s, 5, 32)[0], image)
    np.testing.assert_array_equal(np.stack([image for _, image in streamed]), video.read(path, 2.1, 6.1, 5, 32))


def test_the_last_frame_is_held_and_a_stream_ends(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    video.write(path, map(picture, range(20)), 10)
    assert [number_in(image) for image in video.read(path, 1.5, 4.5, 1, 48)] == [15, 19, 19]
    assert [number_in(image) for _, image in video.stream(path, 1, 48, start_s=0.5, end_s=60.0)] == [5, 15]
    assert len(video.read(path, 0.0, 2.0, 4, 48)) == 8
    assert len(video.read(path, 1.0, 1.0, 4, 48)) == 1


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_agrees_with_opencv(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "turned.mp4"
    encode(path, EVEN[:3], turn=lambda stream: stream.set_display_rotation(rotation))
    shape = (HEIGHT, WIDTH) if rotation == 180 else (WIDTH, HEIGHT)
    info = video.probe(path)
    assert (info.height_px, info.width_px, info.rotation_deg) == (*shape, rotation)
    capture = cv2.VideoCapture(str(path))
    capture.read()
    _, peer = capture.read()
    capture.release()
    expected = cv2.resize(np.asarray(peer)[..., ::-1], (60, 60), interpolation=cv2.INTER_AREA)
    for crop in (None, Box(0, 0, *shape)):
        ours = video.read(path, 0.04, 0.04, 25, 60, crop=crop)[0]
        assert np.abs(expected.astype(int) - ours).mean() < 4


@pytest.mark.parametrize("axes", [(1, 0, 0, 1), (0, 1, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_mirrored_files_follow_the_display_matrix(
    tmp_path: Path, axes: tuple[int, int, int, int], signs: tuple[int, int]
) -> None:
    # ISO/IEC 14496-12, 6.2.2: the point (x, y) is shown at (a x + c y, b x + d y).
    a, b, c, d = axes[0] * signs[0], axes[1] * signs[1], axes[2] * signs[0], axes[3] * signs[1]
    path, stored = tmp_path / "mirrored.mp4", tmp_path / "stored.mp4"
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    encode(path, EVEN[:3], turn=lambda stream: stream.set_display_matrix(matrix))
    encode(stored, EVEN[:3])
    plain, ours = (video.read(file, 0.08, 0.08, 25, 48)[0] for file in (stored, path))
    expected = np.empty_like(plain)
    for y in range(48):
        for x in range(48):
            to_x, to_y = a * x + c * y + 47 * (a + c < 0), b * x + d * y + 47 * (b + d < 0)
            expected[to_y, to_x] = plain[y, x]
    np.testing.assert_array_equal(ours, expected)


def test_write_then_read_keeps_colours_and_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    video.write(path, colourful(60), 12.5, crf=10, gop=12)
    info = video.probe(path)
    assert (info.num_frames, info.fps, info.duration_s) == (60, 12.5, 4.8)
    assert (info.width_px, info.height_px, info.codec, info.rotation_deg) == (128, 96, "h264", 0)
    clip = video.read(path, 0, 4.8, 12.5, 64)
    for image, source in zip(clip, colourful(60), strict=True):
        expected = cv2.resize(source, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(expected.astype(int) - image).mean() < 3.0
    with av.open(str(path)) as container:
        keys = [index for index, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    assert keys == list(range(0, 60, 12))


def test_writing_twice_gives_the_same_bytes_and_accepts_a_generator(tmp_path: Path) -> None:
    video.write(tmp_path / "one.mp4", colourful(20), 10)
    video.write(tmp_path / "two.mp4", list(colourful(20)), 10)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_crop_is_the_same_part_scaled(tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    video.write(path, colourful(10), 10, crf=5)
    crop = Box(top=10, left=31, bottom=70, right=101)
    with av.open(str(path)) as container:
        frame = np.asarray(list(container.decode(video=0))[4].to_ndarray(format="rgb24"), np.uint8)
    expected = cv2.resize(frame[10:70, 31:101], (40, 40), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(video.read(path, 0.4, 0.4, 1, 40, crop=crop)[0], expected, atol=2)
    with pytest.raises(DataError, match=r"not within its 128x96 px picture"):
        video.read(path, 0.4, 0.4, 1, 40, crop=Box(0, 0, 97, 128))


@pytest.mark.slow
def test_what_importing_video_takes() -> None:
    """The gateway takes the decoder's list of containers alone; whoever reads pictures needs no torch."""
    code = (
        "import json, sys, surgvl.video.decoder as d; light = [m in sys.modules for m in ('numpy', 'cv2')];"
        "from surgvl import video; video.read; print(json.dumps([light, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[False, False], False]
