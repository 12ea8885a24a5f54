"""Rows of frames: what the numbers of a label file mean beside a video of another rate, length or first number."""

from pathlib import Path

import pytest

from surgvl.core.errors import DataError
from surgvl.data.formats.frame_rows import by_id, by_name, place_rows, read_frame_rows
from surgvl.data.spans import Track
from surgvl.video import VideoInfo
from tests.helpers.label_files import put

NAMES = ("cut", "sew up")
CLASSES = by_id(NAMES) | by_name(NAMES)


def video(path: Path, duration_s: float, fps: float) -> VideoInfo:
    """The facts of a video file that is not there."""
    return VideoInfo(path / "video.mp4", duration_s, fps, 32, 32, 0, round(duration_s * fps), "h264")


def placed(path: Path, numbers: range, info: VideoInfo | None, label_fps: float = 25.0, first: int = 0) -> Track:
    """Half of the frames cut, the others sewn up."""
    half = numbers[len(numbers) // 2]
    text = "Frame\tPhase\n" + "".join(f"{number}\t{int(number >= half)}\n" for number in numbers)
    return place_rows(read_frame_rows(put(path / "labels.txt", text), CLASSES), info, label_fps, first)


@pytest.mark.parametrize(
    ("numbers", "first", "info", "change_s", "remark"),
    [
        (range(1000), 0, (40, 25), 20.0, ""),
        (range(1000), 0, (40, 5), 20.0, "the video has 5 fps and its labels 25 fps: it was re-encoded"),
        (range(40), 0, (40, 25), 20.0, "labels have a row a second and the video 25 frames a second"),
        (range(0, 1000, 25), 0, (40, 25), 20.0, ""),
        (range(1, 1001), 0, (40, 25), 20.0, "frames count from 1 although the layout counts from 0"),
        (range(1, 1001), 1, (40, 25), 20.0, ""),
        (range(1000), 1, (40, 25), 20.0, "frames count from 0 although the layout counts from 1"),
        (range(1002), 0, (40, 25), 20.04, "2 frames more labelled than the video has: the last rows are left out"),
        (range(970), 0, (40, 25), 19.4, "30 frames fewer labelled than the video has: the last frames have no label"),
        (range(100, 1000), 0, (40, 25), 22.0, "labels start at frame 100"),
        # Labels that end early are cut, not of another rate.
        (range(300), 0, (40, 25), 6.0, "700 frames fewer labelled than the video has"),
    ],
    ids=[
        *("alike", "re-encoded", "second", "stride", "from1", "one", "from0", "longer", "shorter", "late", "cut"),
    ],
)
def test_numbers_beside_a_video(
    numbers: range, first: int, info: tuple[float, float], change_s: float, remark: str, tmp_path: Path
) -> None:
    track = placed(tmp_path, numbers, video(tmp_path, *info), first=first)
    assert [span[2] for span in track.spans] == list(NAMES)
    assert track.spans[0][1] == track.spans[1][0] == pytest.approx(change_s)
    assert [note for note in track.notes if not note.startswith(remark)] == []
    assert bool(track.notes) == bool(remark)


def test_a_layout_of_seconds_beside_labels_of_frames(tmp_path: Path) -> None:
    track = placed(tmp_path, range(1000), video(tmp_path, 40, 25), label_fps=1.0)
    assert track.spans[1][0] == 20
    assert "labels have a row for each frame, at 25 fps" in track.notes[0]
    assert placed(tmp_path, range(40), video(tmp_path, 40, 25), label_fps=1.0).notes == []


def test_quirks_are_read_and_named(tmp_path: Path) -> None:
    text = "\ufeffFrame\tPhase\n0\tcut\n1 sew up\nFrame\tPhase\n2.0e+00\tSew Up\n"
    rows = read_frame_rows(put(tmp_path / "labels.txt", text), CLASSES)
    assert (rows.numbers, rows.labels) == ([0, 1, 2], ["cut", "sew up", "sew up"])
    for part in ("byte order mark", "line 4 repeats the header, which is not a phase", "blanks", "scientific notation"):
        assert any(part in note for note in rows.notes), part
    assert len(rows.notes) == 4


def test_an_id_is_not_taken_for_its_absolute_value(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: unknown phase '-1'; allowed are cut, sew up"):
        read_frame_rows(put(tmp_path / "labels.txt", "0\t-1\n"), CLASSES)
