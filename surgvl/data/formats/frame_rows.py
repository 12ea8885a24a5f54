"""Label files with a row for each frame, `frame label`, and the times at which a video shows those frames.

Frames count from 0 or 1, at the rate of the video, at that of the video it was made from, or one a second; labels are
names or ids. Which of these a file means follows from its numbers and from the video, and every departure from the
layout becomes a note with its remedy.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median_low

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.text_files import mark_note, no_rows, parse_int, read_fields, short_repr
from surgvl.data.spans import Track, join_runs
from surgvl.video import VideoInfo

# A video and its labels may differ by this much and still belong together; the second is a part of the duration.
SLACK_S, SLACK = 2.0, 0.01


@dataclass(frozen=True)
class FrameRows:
    """The rows of a file.

    Attributes:
        numbers: frame numbers, increasing.
        labels: class of each frame; empty where there is none.
        notes: what is unusual about the file.
        spacing: frames that a row stands for; 0 for the usual distance of two rows.
    """

    numbers: list[int]
    labels: list[str]
    notes: list[str]
    spacing: int = 0

    @property
    def stride(self) -> int:
        """Frames that a row stands for."""
        if self.spacing:
            return self.spacing
        steps = [later - sooner for sooner, later in zip(self.numbers, self.numbers[1:], strict=False)]
        return median_low(steps) if steps else 1


def by_name(names: Sequence[str], aliases: Mapping[str, str] | None = None) -> dict[str, str]:
    """Classes by their names, to be matched without case, blanks and punctuation.

    Args:
        names: class names.
        aliases: other spellings -> class names.
    """
    return {label_key(name): name for name in names} | {
        label_key(alias): name for alias, name in (aliases or {}).items()
    }


def by_id(names: Sequence[str], first: int = 0) -> dict[str, str]:
    """Classes by their ids, the first being `first`."""
    return {str(number): name for number, name in enumerate(names, first)}


def label_key(text: str) -> str:
    """A label as it is compared: a whole number without decimals, a name in lower case with letters and digits only."""
    try:
        return str(int(float(text)))
    except (OverflowError, ValueError):
        return "".join(letter for letter in text.lower() if letter.isalnum())


def read_frame_rows(
    path: Path, classes: Mapping[str, str], what: str = "phase", number_last: bool = False
) -> FrameRows:
    """Read a file.

    Args:
        path: rows of a frame number and a label, with or without a header.
        classes: what labels mean, from `by_name`, `by_id` or both.
        what: kind of label, for messages.
        number_last: whether the first column names a picture, whose last number is that of the frame.

    Raises:
        DataError: an unknown label, a row without two values, or frames that are negative or do not increase.
    """
    rows, notes = read_fields(path), mark_note(path)
    number_of = _last_number if number_last else str
    header = rows[0][1] if not _is_number(number_of(rows[0][1][0])) else []
    label_of = cache(lambda name: classes.get(label_key(name)))
    numbers: list[int] = []
    labels: list[str] = []
    odd = scientific = 0
    for line, fields in rows[1:] if header else rows:
        if fields == header:
            notes.append(f"line {line} repeats the header, which is not a {what}: skipped")
            continue
        if len(fields) == 1:
            fields, odd = re.split(r"[\s,;]+", fields[0]), odd + 1
        if len(fields) < 2:
            raise DataError(f"{path}, line {line} must have two values, got {' '.join(fields)!r}: correct the row")
        # If blanks separate the columns, a name of several words was split.
        text, name = number_of(fields[0]), " ".join(fields[1:])
        # The files of a data set have millions of rows: nearly all take the short way.
        is_plain = text.isdecimal() and len(text) < 9
        number = int(text) if is_plain else parse_int(text, path, line, "frame", least=0)
        scientific += not is_plain and "e" in text.lower()
        label = label_of(name)
        if label is None:
            if len(fields) > 2 and label_of(fields[1]) is not None:
                fact = f"{len(fields)} values, {short_repr(' '.join(fields))}; a frame and a {what} are expected"
                raise DataError(f"{path}, line {line} has {fact}: drop the other columns")
            allowed = ", ".join(dict.fromkeys(filter(None, classes.values())))
            fact = f"unknown {what} {short_repr(name)}; allowed are {allowed}"
            raise DataError(f"{path}, line {line}: {fact}: correct or drop the row")
        if numbers and number <= numbers[-1]:
            raise DataError(f"{path}, line {line}: frame {number} comes after frame {numbers[-1]}: sort the rows")
        numbers.append(number)
        labels.append(label)
    if not numbers:
        raise no_rows(path)
    if odd:
        notes.append(
            "values are separated by other marks than in the first line, such as blanks for tabs: read as such"
        )
    if scientific:
        notes.append("frame numbers are in scientific notation and read as whole numbers")
    return FrameRows(numbers, labels, notes)


def place_rows(rows: FrameRows, info: VideoInfo | None, label_fps: float, first: int = 0) -> Track:
    """The labels over time.

    Args:
        rows: the file's rows.
        info: the video or frame folder (whose pictures are placed later); None where there is none.
        label_fps: rate of the layout's frame numbers; above 1, it is that of the video in doubt.
        first: number of the first frame in the layout, 0 or 1.
    """
    notes, stride = list(rows.notes), rows.stride
    file = info if info is not None and not info.path.is_dir() else None
    base = first
    if rows.numbers[0] < first:
        base = 0
        notes.append("frames count from 0 although the layout counts from 1: read from 0")
    elif file and first == 0 and rows.numbers[0] == 1 and rows.numbers[-1] == _num_frames(file):
        base = 1
        notes.append("frames count from 1 although the layout counts from 0: read from 1")
    numbers = [number - base for number in rows.numbers]
    fps, remark = frame_rate(rows, info, label_fps)
    notes += [remark] if remark else []
    over = numbers[-1] + 1 - _num_frames(file) if file else 0
    if file and over and fps == file.fps and stride == 1:
        fact = f"{plural(abs(over), 'frame')} {'more' if over > 0 else 'fewer'} labelled than the video has"
        notes.append(f"{fact}: {'the last rows are left out' if over > 0 else 'the last frames have no label'}")
    if lost := (numbers[-1] - numbers[0]) // stride + 1 - len(numbers):
        notes.append(f"{plural(lost, 'frame')} without a row between others: they have no label")
    if numbers[0] >= max(stride, fps):
        notes.append(f"labels start at frame {rows.numbers[0]}: what comes before has none")
    return Track(join_runs(numbers, rows.labels, 1 / fps, stride), (numbers[-1] + stride) / fps, notes)


def frame_rate(rows: FrameRows, info: VideoInfo | None, label_fps: float) -> tuple[float, str]:
    """The rate of the frame numbers, at which they last as long as the video, and a remark if it is not the layout's.

    Args:
        rows: the file's rows.
        info: the video; None, or a frame folder, for the rate of the layout.
        label_fps: rate of the layout; above 1, it is that of the video in doubt.
    """
    if info is None or info.path.is_dir():
        return label_fps, ""
    own = info.fps if label_fps > 1 else label_fps
    misses = {fps: abs((rows.numbers[-1] + 1) / fps - info.duration_s) for fps in (own, info.fps, label_fps, 1.0)}
    best = min(misses, key=lambda fps: misses[fps])
    # Another rate must explain the length well, so that labels that are merely cut keep theirs.
    if best == own or misses[own] <= SLACK_S or misses[best] > max(0.5, SLACK * info.duration_s):
        return own, ""
    if best == 1:
        return 1, f"labels have a row a second and the video {info.fps:g} frames a second: each row is read as a second"
    if best == info.fps:
        return best, f"labels have a row for each frame, at {best:g} fps, although the layout has one a second: read so"
    return best, f"the video has {info.fps:g} fps and its labels {best:g} fps: it was re-encoded"


def _num_frames(file: VideoInfo) -> int:
    return file.num_frames or round(file.duration_s * file.fps)


def _last_number(name: str) -> str:
    """The last number in a picture's name, or the name if it has none."""
    return next(iter(re.findall(r"\d+", Path(name).stem)[-1:]), name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
