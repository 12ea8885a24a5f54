"""Cuts hold exactly the frames of a range, with their distances, whether frames are copied or encoded again."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.video.cut import cut_video
from tests.helpers.numbered_videos import FILES, IRREGULAR, X264, brute_force, encode, picture

CLOSED = {**X264, "x264-params": "scenecut=0:keyint=30"}
SLACK_S = 1e-3


@cache
def decoded(source: Path) -> list[tuple[float, int]]:
    """The frames of a source, which does not change."""
    return brute_force(source)


def expected(source: Path, start_s: float, end_s: float) -> list[tuple[float, int]]:
    """The frames of a range, by decoding all: the one shown at its start, and those that begin in it."""
    frames = decoded(source)
    if source.suffix == ".avi":
        # libav's times of such frames are out of order; they are 25 a second.
        frames = [(number / 25, number) for _, number in frames]
    first = max(begin for begin, _ in frames if begin <= start_s + SLACK_S / 2)
    return [(begin - first, number) for begin, number in frames if begin >= first and begin + SLACK_S / 2 < end_s]


def check(source: Path, start_s: float, end_s: float, out: Path) -> bool:
    found, wanted = cut_video(source, start_s, end_s, out), expected(source, start_s, end_s)
    cut = brute_force(out)
    assert [number for _, number in cut] == [number for _, number in wanted]
    assert np.allclose([begin for begin, _ in cut], [begin for begin, _ in wanted], atol=SLACK_S)
    assert found.num_frames == len(wanted)
    return found.is_copy


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_cut_holds_the_frames_of_the_range(numbered_file: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    source = numbered_file(name)
    end_s = decoded(source)[-1][0]
    for start, end in ((0.0, 0.11), (0.37, 0.52), (0.8, 1.0)):
        check(source, start * end_s, end * end_s, tmp_path / "cut.mp4")


@pytest.mark.slow
def test_frames_are_copied_where_the_range_is_whole_groups(tmp_path: Path) -> None:
    source, out = tmp_path / "source.mp4", tmp_path / "cut.mp4"
    encode(source, list(range(250)), options=CLOSED)
    # 25 frames a second, a key frame every 30.
    assert check(source, 1.2, 3.6, out)
    assert check(source, 0.0, 1.2, out)
    assert check(source, 7.2, 99.0, out)
    assert not check(source, 1.24, 3.6, out)
    with av.open(str(source)) as one, av.open(str(out)) as other:
        assert one.streams.video[0].codec_context.name == other.streams.video[0].codec_context.name == "h264"


def test_copied_frames_are_the_bytes_of_the_recording(tmp_path: Path) -> None:
    source, out = tmp_path / "source.mkv", tmp_path / "cut.mp4"
    encode(source, list(range(90)), options={**CLOSED, "bf": "0"})
    assert check(source, 1.2, 2.0, out)

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(out) == packets(source)[30:50]


@pytest.mark.slow
def test_an_open_group_is_cut_without_the_frames_that_lean_on_the_one_before(tmp_path: Path) -> None:
    source = tmp_path / "open.mp4"
    encode(source, **FILES["open_groups.mp4"])
    key = next(begin for begin, number in brute_force(source) if number == 60)
    check(source, key, key + 1.2, tmp_path / "cut.mp4")


def test_resolution_and_orientation_stay(tmp_path: Path) -> None:
    source, out = tmp_path / "turned.mp4", tmp_path / "cut.mp4"
    encode(source, list(range(60)), options=CLOSED)
    data = source.read_bytes()
    # The matrix of the track header, ISO/IEC 14496-12, 8.3.2: a quarter turn instead of none.
    plain = b"".join(n.to_bytes(4, "big", signed=True) for n in (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))
    quarter = b"".join(n.to_bytes(4, "big", signed=True) for n in (0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30))
    at = data.index(plain, data.index(b"tkhd"))
    source.write_bytes(data[:at] + quarter + data[at + len(plain) :])
    from surgvl import video

    want = video.probe(source)
    assert (want.width_px, want.height_px) == (48, 64)
    for start_s, end_s in ((0.0, 1.2), (0.52, 1.0)):
        cut_video(source, start_s, end_s, out)
        found = video.probe(out)
        assert (found.width_px, found.height_px) == (48, 64)
        with video.VideoReader(source) as one, video.VideoReader(out) as other:
            np.testing.assert_allclose(
                one.read(start_s, start_s, 1.0, 64)[0].astype(float), other.read(0.0, 0.0, 1.0, 64)[0], atol=60
            )


def test_nothing_but_pictures_is_taken_along(tmp_path: Path) -> None:
    source, out = tmp_path / "source.mp4", tmp_path / "cut.mp4"
    with av.open(str(source), "w") as container:
        container.metadata["title"] = "Smith, John"
        stream = container.add_stream("libx264", rate=10)
        sound = container.add_stream("aac", rate=8000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(stream.encode(frame))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.rate = 8000
        container.mux(sound.encode(samples))
        container.mux([*stream.encode(None), *sound.encode(None)])
    for end_s in (9.0, 0.5):
        cut_video(source, 0.0, end_s, out)
        assert b"Smith" not in out.read_bytes()
        with av.open(str(out)) as container:
            assert [each.type for each in container.streams] == ["video"]


def test_odd_sides_and_folders_of_images(tmp_path: Path) -> None:
    folder, out = tmp_path / "frames", tmp_path / "cut.mp4"
    folder.mkdir()
    for number in range(8):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((45, 61, 3), 20 * number, np.uint8))
    assert cut_video(folder, 2.0, 5.0, out).num_frames == 3
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [each.shape for each in frames] == [(46, 62, 3)] * 3
    assert np.allclose([each.mean() for each in frames], [40, 60, 80], atol=3)


def test_what_is_no_range_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    encode(source, IRREGULAR[:20])
    end_s = brute_force(source)[-1][0]
    for start_s, stop_s in ((2.0, 1.0), (-1.0, 1.0), (0.0, float("inf")), (1.0, 1.0)):
        with pytest.raises(DataError, match="a cut must start at 0 s or later and end after that"):
            cut_video(source, start_s, stop_s, tmp_path / "cut.mp4")
    with pytest.raises(DataError, match=r"past the end"):
        cut_video(source, end_s + 60, end_s + 61, tmp_path / "cut.mp4")
    assert not (tmp_path / "cut.mp4").exists()
