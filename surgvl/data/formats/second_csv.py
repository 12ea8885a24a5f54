"""The CSV format `path,label` in which several groups share phase labels: a row per second, labels from 1."""

import re
from collections.abc import Sequence
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.text_files import no_rows, parse_int, read_csv, short_repr
from surgvl.data.spans import Track, join_runs


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
    frame = re.compile(re.escape(video_id) + r"_(\d+)\.\w+")
    seconds: list[int] = []
    labels: list[str] = []
    name_of: dict[str, str] = {}
    second = -1
    for file, label, line in zip(columns["path"], columns["label"], columns["line"], strict=True):
        second += 1
        # Most rows are those of the next second, and are not taken apart.
        if file != f"{video_id}_{second + first}.png":
            match = frame.fullmatch(file)
            if match is None:
                named = f"a frame of {video_id} such as {video_id}_{first}.png"
                raise DataError(f"{path}, line {line}: {short_repr(file)} is not {named}")
            second = parse_int(match[1], path, line, "second") - first
            if second < 0 or (seconds and second <= seconds[-1]):
                last = seconds[-1:] or first
                raise DataError(f"{path}, line {line}: {file} comes after second {last}: sort the rows")
        if label not in name_of:
            number = parse_int(label, path, line, "label")
            if not 1 <= number <= len(names):
                raise DataError(f"{path}, line {line}: label {number} is not one of 1 to {len(names)}: correct the row")
            name_of[label] = names[number - 1]
        seconds.append(second)
        labels.append(name_of[label])
    if not seconds:
        raise no_rows(path)
    gaps = seconds[-1] + 1 - len(seconds)
    notes = [f"{plural(gaps, 'second')} without a row in {path.name}"] if gaps else []
    return Track(join_runs(seconds, labels), float(seconds[-1] + 1), notes)
