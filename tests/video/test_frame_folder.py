"""Folders of numbered images, single images, and the content area of a frame."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.content_area import Image
from tests.helpers.numbered_videos import number_in, picture


def test_folders_of_numbered_images_are_videos(tmp_path: Path) -> None:
    for index in range(12):
        suffix = "png" if index % 2 else "jpg"
        Pillow.fromarray(picture(index)).save(tmp_path / f"video01_{index * 25}.{suffix}")
    (tmp_path / "notes.txt").write_text("not an image")
    info = video.probe(tmp_path)
    assert (info.duration_s, info.fps, info.num_frames, info.width_px, info.height_px) == (12.0, 1.0, 12, 64, 48)
    assert [number_in(image) for image in video.read(tmp_path, 2.5, 5.0, 2, 48)] == [2, 3, 3, 4, 4]
    assert [number_in(image) for image in video.read(tmp_path, 10.0, 14.0, 1, 48)] == [10, 11, 11, 11]
    assert [number_in(image) for _, image in video.stream(tmp_path, 1, 48)] == list(range(12))
    assert len(list(video.stream(tmp_path, 1, 48, start_s=3.0, end_s=40.0))) == 9
    assert video.probe(tmp_path, folder_fps=5.0).duration_s == 2.4
    assert [number_in(image) for image in video.read(tmp_path, 1.0, 2.0, 5, 48, folder_fps=5.0)] == [5, 6, 7, 8, 9]
    with pytest.raises(DataError, match=r"ends at 12.00 s: start_s 12.00 is past the end"):
        video.read(tmp_path, 12.0, 13.0, 1, 48)
    (tmp_path / "video01_50.bmp").write_bytes(b"")
    with pytest.raises(DataError, match="the same number 50"):
        video.probe(tmp_path)
    (tmp_path / "video01_50.bmp").unlink()
    (tmp_path / "video01_75.png").write_bytes((tmp_path / "video01_75.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"video01_75\.png cannot be read as an image"):
        video.read(tmp_path, 0.0, 5.0, 1, 48)
    (tmp_path / "cover.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cover\.png has no number"):
        video.probe(tmp_path)


def bordered(shape: str) -> Iterator[Image]:
    rows, columns = np.mgrid[:180, :320]
    for index in range(16):
        noise = np.random.default_rng(index).integers(0, 14, (180, 320, 3), dtype=np.uint8)
        inside = np.zeros((180, 320), bool)
        if shape == "letterbox":
            inside[20:160, 40:280] = True
        elif shape == "round":
            inside = (rows - 90) ** 2 + (columns - 170) ** 2 <= 80**2
        elif shape == "full":
            inside[:] = True
        # Half of the field is dark in each frame, and a line of text stands in the border.
        lit = inside & ((columns < 160) == bool(index // 2 % 2))
        noise[lit] = (180, 90, 70)
        cv2.putText(noise, "12:04", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1)
        yield noise


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "expected"),
    [("letterbox", (20, 40, 160, 280)), ("round", (10, 90, 171, 251)), ("full", None), ("dark", None)],
)
def test_content_box(tmp_path: Path, shape: str, expected: tuple[int, int, int, int] | None) -> None:
    path = tmp_path / "bordered.mp4"
    video.write(path, bordered(shape), 8, crf=18, gop=1)
    box = video.content_box(path)
    if expected is None:
        assert box is None
    else:
        assert box is not None
        np.testing.assert_allclose((box.top, box.left, box.bottom, box.right), expected, atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_their_exif_says(tmp_path: Path, orientation: int) -> None:
    """All eight orientations of TIFF 6.0: how the upright picture was stored, by numpy."""
    upright = picture(77)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "1.png", exif=exif)
    info = video.probe(tmp_path)
    assert (info.width_px, info.height_px) == (64, 48)
    assert number_in(video.read(tmp_path, 0, 1, 1, 48)[0]) == 77
    np.testing.assert_array_equal(video.VideoReader(tmp_path)._source.near(0.0), upright)
