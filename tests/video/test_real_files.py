"""Real recordings, where they are at hand."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.frame_times import frame_times

REAL = os.environ.get("SURGVL_REAL_DATA", "")
needs_real = pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: no real footage here")


@pytest.mark.slow
@needs_real
def test_real_clips_give_all_their_frames() -> None:
    expected = {
        "hysterectomy_up": (250, 25.0),
        "round_content_area": (250, 25.0),
        "robotic_suturing_20_frames": (20, 10.0),
    }
    paths = sorted((Path(REAL) / "clips").glob("*.mp4"))
    assert len(paths) == 11
    for path in paths:
        num_frames, fps = expected.get(path.stem, (800, 25.0))
        info = video.probe(path)
        assert (info.fps, info.num_frames, info.duration_s) == (fps, num_frames, num_frames / fps)
        np.testing.assert_allclose(frame_times(path).times_s, np.arange(num_frames) / fps, atol=1e-3)
        # Decoded are all frames of the shortest and of one long one; of the others the last 20.
        start_s = 0.0 if path.stem == "VID05_1858" or num_frames == 20 else info.duration_s - 0.8
        times = [time_s for time_s, _ in video.stream(path, fps, 64, start_s=start_s)]
        assert len(times) == num_frames - round(start_s * fps)


@pytest.mark.slow
@needs_real
def test_a_real_clip_agrees_with_opencv_frame_by_frame() -> None:
    path = Path(REAL) / "clips" / "VID43_299.mp4"
    capture = cv2.VideoCapture(str(path))
    for _, image in video.stream(path, 25, 96, end_s=2.0):
        _, peer = capture.read()
        expected = cv2.resize(np.asarray(peer)[..., ::-1], (96, 96), interpolation=cv2.INTER_AREA)
        assert np.abs(expected.astype(int) - image).mean() < 1.5
    capture.release()


@pytest.mark.slow
@needs_real
def test_real_broken_footage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"header_only\.mp4 holds a header but no video"):
        video.probe(Path(REAL) / "broken" / "header_only.mp4")
    source = Path(REAL) / "clips" / "VID25_471.mp4"
    index_in_front, path = tmp_path / "index_in_front.mp4", tmp_path / "cut.mp4"
    with av.open(str(source)) as old, av.open(str(index_in_front), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    path.write_bytes(index_in_front.read_bytes()[: source.stat().st_size // 3])
    assert video.probe(path).duration_s == 32.0
    good: list[float] = []
    pictures = video.stream(path, 5, 32)
    with pytest.raises(DataError, match="truncated"):
        good.extend(time_s for time_s, _ in pictures)
    assert 20 < len(good) < 110
    assert len(video.read(path, 1.0, 2.0, 8, 32)) == 8
    with pytest.raises(DataError, match="truncated"):
        video.read(path, 25.0, 26.0, 8, 32)
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 3])
    if not source.read_bytes()[:64].count(b"moov"):
        with pytest.raises(DataError, match="cut"):
            list(video.stream(path, 5, 32))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@needs_real
def test_real_borders() -> None:
    clips = Path(REAL) / "clips"
    box = video.content_box(clips / "round_content_area.mp4")
    assert box is not None
    # By eye: a circle 1,135 px across that the frame cuts at the top and the bottom, and nothing left of column 45.
    assert (box.top, box.bottom) == pytest.approx((0, 720), abs=4)
    assert (box.left, box.right) == pytest.approx((52, 1194), abs=12)
    assert video.content_box(clips / "hysterectomy_up.mp4") is None
    robot = video.content_box(clips / "robotic_suturing_20_frames.mp4")
    assert robot is not None
    assert (robot.top, robot.left, robot.bottom, robot.right) == pytest.approx((36, 328, 1048, 1592), abs=6)
    frames = video.read(clips / "robotic_suturing_20_frames.mp4", 0.0, 1.0, 4, 48, crop=robot)
    assert frames[:, 0].max() > 60


@pytest.mark.slow
@needs_real
def test_real_frame_folders() -> None:
    info = video.probe(Path(REAL) / "frames" / "cataract")
    assert (info.num_frames, info.width_px, info.height_px, info.codec) == (12, 1920, 1080, "jpg")
    clip = video.read(Path(REAL) / "frames" / "cholec80_VID03", 0.0, 6.0, 1, 64)
    last = np.array(Pillow.open(Path(REAL) / "frames" / "cholec80_VID03" / "t80_VID03_000150.png").convert("RGB"))
    np.testing.assert_array_equal(clip[5], cv2.resize(last, (64, 64), interpolation=cv2.INTER_AREA))
