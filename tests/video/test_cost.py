"""The cost of reading: frames decoded and converted, and memory that does not grow with the length."""

import random
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from surgvl import video
from surgvl.video import decoder
from surgvl.video.content_area import Box, Image
from surgvl.video.file import VideoFile
from surgvl.video.geometry import Geometry
from tests.helpers.numbered_videos import EVEN, encode, number_in, picture


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half hours at one frame in 2.5 s, keyframes every 24 frames."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    video.write(path, map(picture, range(3600)), 0.4, gop=24, preset="ultrafast")
    return path


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    plain = decoder.FrameDecoder._decoded

    def counting(self: decoder.FrameDecoder, plan: decoder.SampleTimes) -> Iterator[tuple[float, av.VideoFrame]]:
        for time_s, frame in plain(self, plan):
            counted.append(1)
            yield time_s, frame

    monkeypatch.setattr(decoder.FrameDecoder, "_decoded", counting)
    return counted


@pytest.mark.slow
def test_a_late_clip_costs_what_an_early_one_costs(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert video.probe(long_video).duration_s == 9000.0
    counted = count_decoded(monkeypatch)
    dice = random.Random(2)
    for start_s in [8990.0, *(dice.uniform(0, 8900) for _ in range(10))]:
        counted.clear()
        clip = video.read(long_video, start_s, start_s + 10, 0.4, 48)
        assert [number_in(image) for image in clip][0] == int(start_s / 2.5)
        assert len(counted) <= 24 + len(clip) + 1


def test_pictures_nobody_sees_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b_frames.mp4"
    encode(path, EVEN)
    counted = count_decoded(monkeypatch)
    num_samples = len(list(video.stream(path, 1, 32)))
    assert num_samples == 10
    assert len(counted) < 0.7 * len(EVEN)


@pytest.mark.slow
def test_memory_is_flat_in_the_length(long_video: Path) -> None:
    references: list[weakref.ref[Image]] = []
    tracemalloc.start()
    peaks = []
    for number, (_, image) in enumerate(video.stream(long_video, 0.4, 64)):
        references.append(weakref.ref(image))
        if number in (300, 3500):
            peaks.append(tracemalloc.get_traced_memory()[1])
            alive = sum(reference() is not None for reference in references)
            assert alive <= 2
    tracemalloc.stop()
    assert number == 3599
    # The references themselves take some; 3,200 pictures would take 39 MB.
    assert peaks[1] - peaks[0] < 1_000_000


@pytest.mark.slow
def test_frames_that_are_not_sampled_are_not_converted(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    plain = VideoFile._pixels

    def counting(self: VideoFile, frame: av.VideoFrame, geometry: Geometry, crop: Box | None) -> Image:
        converted.append(1)
        return plain(self, frame, geometry, crop)

    monkeypatch.setattr(VideoFile, "_pixels", counting)
    assert len(list(video.stream(long_video, 0.04, 32, end_s=500.0))) == 20
    assert len(converted) == 20
    converted.clear()
    # Eight samples of one frame: converted once, but each its own array.
    clip = list(video.stream(long_video, 4.0, 32, end_s=2.0))
    assert len(converted) == 1
    clip[0][1][:] = 7
    assert not (clip[1][1] == 7).all()
