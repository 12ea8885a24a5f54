"""The CSV format `path,label` in which several groups share phase labels: a row per second, labels from 1."""

import re
from collections.abc import Sequence
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.text_files import no_rows, parse_int, read_csv, short_repr
from surgvl.data.spans import Track, join_runs

_FRAME = re.compile(r"(.+)_(\d+)\.\w+")


def read_second_csv(path: Path, video_id: str, names: Sequence[str], first: int) -> Track:
    """Read one video's file.

    Args:
        path: CSV file with columns path (`video01_0.png`: video id and second) and label.
        video_id: the video that every row must name.
        names: class names; label 1 is the first.
        first: number of the first second, 0 or 1.

    Raises:
        DataError: a row of another video, a label out of range, or seconds that do not increase.
    """
    columns = read_csv(path, ("path", "label"))
    seconds: list[int] = []
    labels: list[str] = []
    for file, label, line in zip(columns["path"], columns["label"], columns["line"], strict=True):
        match = _FRAME.fullmatch(file)
        if match is None or match[1] != video_id:
            raise DataError(
                f"{path}, line {line}: {short_repr(file)} is not a frame of {video_id} such as {video_id}_{first}.png"
            )
        second = parse_int(match[2], path, line, "second") - first
        number = parse_int(label, path, line, "label")
        if second < 0 or (seconds and second <= seconds[-1]):
            raise DataError(f"{path}, line {line}: {file} comes after second {seconds[-1:] or first}: sort the rows")
        if not 1 <= number <= len(names):
            raise DataError(f"{path}, line {line}: label {number} is not one of 1 to {len(names)}: correct the row")
        seconds.append(second)
        labels.append(names[number - 1])
    if not seconds:
        raise no_rows(path)
    gaps = seconds[-1] + 1 - len(seconds)
    notes = [f"{plural(gaps, 'second')} without a row in {path.name}"] if gaps else []
    return Track(join_runs(seconds, labels), float(seconds[-1] + 1), notes)
