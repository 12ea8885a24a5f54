"""Recordings joined byte by byte are refused; single ones, also with a pause, are read."""

from pathlib import Path

import av
import numpy as np
import pytest

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.clock import MAX_GAP_S


def film(path: Path, seconds: float, format_: str, codec: str, begin_s: float = 0.0, pause_s: float = 0.0) -> Path:
    """A film of a moving bar whose clock begins at `begin_s` and pauses in its middle."""
    with av.open(str(path), "w", format=format_) as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.thread_count = 1
        count = round(seconds * 25)
        for number in range(count):
            picture = np.zeros((48, 64, 3), np.uint8)
            picture[:, number % 64] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            late_s = begin_s + (pause_s if number >= count // 2 else 0.0)
            frame.pts, frame.time_base = number + round(late_s * 25), 1 / stream.average_rate  # type: ignore[assignment, operator]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


KINDS = {"ts": ("mpegts", "libx264"), "mpg": ("vob", "mpeg2video")}


@pytest.mark.parametrize("kind", KINDS)
def test_joined_recordings_are_told(kind: str, tmp_path: Path) -> None:
    first = film(tmp_path / f"a.{kind}", 3, *KINDS[kind])
    second = film(tmp_path / f"b.{kind}", 4, *KINDS[kind])
    joined = tmp_path / f"joined.{kind}"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    for look in (lambda: video.probe(joined), lambda: list(video.stream(joined, 1, 16))):
        with pytest.raises(DataError, match="several recordings joined into one: its time stamps jump from") as told:
            look()
        assert "\n" not in str(told.value)
        assert "copy it again" not in str(told.value)


@pytest.mark.parametrize("kind", KINDS)
def test_one_recording_is_read_whole(kind: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"a.{kind}", 6, *KINDS[kind], begin_s=10.0)
    # A program stream stamps one picture of a group of twelve.
    assert video.probe(path).duration_s == pytest.approx(6, abs=0.5)
    assert len(list(video.stream(path, 1, 16))) in (6, 7)


def test_a_pause_is_believed_and_a_jump_of_an_hour_is_not(tmp_path: Path) -> None:
    paused = film(tmp_path / "pause.ts", 4, *KINDS["ts"], pause_s=MAX_GAP_S / 2)
    assert video.probe(paused).duration_s == pytest.approx(4 + MAX_GAP_S / 2, abs=0.5)
    with pytest.raises(DataError, match="joined"):
        video.probe(film(tmp_path / "hour.ts", 4, *KINDS["ts"], pause_s=3600))


def test_a_file_that_was_replaced_is_looked_at_again(tmp_path: Path) -> None:
    path = film(tmp_path / "a.ts", 3, *KINDS["ts"])
    assert video.probe(path).duration_s == pytest.approx(3, abs=0.3)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataError, match="joined"):
        video.probe(path)


def test_of_two_tracks_the_default_one_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for default in (False, True):
            stream = container.add_stream("libx264", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            streams.append(stream)
        for number in range(25):
            for stream, level in zip(streams, (20, 220), strict=True):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert video.read(path, 0, 1, 1, 16).mean() > 200


@pytest.mark.slow
def test_a_raw_dv_stream_has_the_rate_of_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.dv"
    with av.open(str(path), "w", format="dv") as container:
        stream = container.add_stream("dvvideo", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((576, 720, 3), number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    info = video.probe(path)
    assert info.fps == pytest.approx(25)
    assert info.duration_s == pytest.approx(2, abs=0.1)
