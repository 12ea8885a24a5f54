"""Which time of the labels each picture of a folder shows: its number says it, not its place.

A folder is shown one picture a second, in the order of the numbers, and gaps are not waited for (`surgvl.video`). Its
labels speak of times of the operation. So a picture's number is turned into the time that the labels mean by it, and
the labels of that time into those of the second at which the picture is shown.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from surgvl.data.spans import Span, Track
from surgvl.video.frame_folder import image_number, sorted_images

# Rates at which people extract pictures, a second.
RATES = (2, 5, 10, 25, 30, 50, 60)
TOLERANCE_S = 2.0
_ROUNDING_S = 1e-3


def times_of(folder: Path, end_s: float, first: Sequence[int] = (0,)) -> tuple[NDArray[np.float64], list[str]]:
    """The time of the labels that each picture shows, float64 [P] in order, and what a reader should know.

    Numbers count seconds. Where there are far more of them than seconds of labels, they count at the rate of `RATES`,
    or of their own distance (0, 25, 50 ...), that fits the labels' end.

    Args:
        folder: numbered pictures.
        end_s: where the labels end; 0 where there are none.
        first: what the picture at 0 s may be called, the usual first; the one that fits the labels' end is taken.

    Raises:
        DataError: as `surgvl.video.frame_folder.sorted_images`.
    """
    numbers = np.array([image_number(path) for path in sorted_images(folder)])
    step = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
    last = int(numbers[-1]) + step
    rate: float = 1
    slack_s = max(TOLERANCE_S, 0.02 * end_s)
    if end_s and last - first[0] > end_s + slack_s:
        fit = min({*RATES, step}, key=lambda fps: abs((last - first[0]) / fps - end_s))
        rate = fit if abs((last - first[0]) / fit - end_s) <= slack_s else 1
    allowed = [base for base in first if base <= numbers[0]] or [min(first)]
    base = min(allowed, key=lambda at: abs((last - at) / rate - end_s)) if end_s else allowed[0]
    notes = []
    if rate != step and rate > 1:
        facts = f"{rate:g} pictures a second of the labels, shown one a second: {(last - base) / rate:.1f} s last"
        notes.append(f"{facts} {len(numbers)} s; extract one a second, or use the video, for true times")
    if num_missing := (int(numbers[-1]) - int(numbers[0])) // step + 1 - len(numbers):
        notes.append(
            f"{num_missing} frame files are missing from {folder}; labels go by number, times after them are too early"
        )
    if numbers[0] >= base + max(step, rate):
        notes.append(f"pictures begin at number {numbers[0]}, which is shown at 0 s with the labels of its number")
    return (numbers - base) / rate, notes


def at_pictures(track: Track, times_s: NDArray[np.float64]) -> Track:
    """Labels over time as labels over the pictures that show it, each picture being shown for a second.

    Args:
        track: labels over the time of the operation.
        times_s: [P], from `times_of`.
    """
    spans: list[Span] = []
    for start_s, end_s, label in track.spans:
        low, high = np.searchsorted(times_s, [start_s - _ROUNDING_S, end_s - _ROUNDING_S]).tolist()
        if high > low:
            spans.append((float(low), float(high), label))
    notes = list(track.notes)
    if lost := len(track.spans) - len(spans):
        notes.append(f"{lost} of {len(track.spans)} stretches of labels have no picture, left out")
    num_bare = len(times_s) - int(np.searchsorted(times_s, track.end_s - _ROUNDING_S))
    if track.whole and track.end_s and num_bare:
        notes.append(f"{num_bare} of {len(times_s)} pictures come after the end of the labels at {track.end_s:.1f} s")
    beyond_s = track.end_s - (float(times_s[-1]) + 1)
    if beyond_s > TOLERANCE_S:
        notes.append(f"labels go on for {beyond_s:.1f} s after the last picture")
    return Track(spans, float(len(times_s)) if track.end_s else 0.0, notes, track.whole)


def questions_at_pictures(table: Any, times_s: NDArray[np.float64]) -> Any:
    """Questions about seconds of the operation as questions about the pictures that show them; others are left out.

    Args:
        table: columns of `QA`, of one video.
        times_s: [P], from `times_of`.
    """
    start_s = table["start_s"].to_numpy()
    place = np.searchsorted(times_s, start_s - _ROUNDING_S)
    there = np.append(times_s, math.inf)[place] < start_s + 1 - _ROUNDING_S
    table = table.filter(pa.array(there))
    for name, values in (("start_s", place[there]), ("end_s", place[there] + 1)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values.astype(np.float64)))
    return table


def questions_within(table: Any, ends_s: Mapping[str, float]) -> Any:
    """Questions that start before the end of their video.

    Args:
        table: columns of `QA`.
        ends_s: video id -> length in seconds; a video that is not in it has no end.
    """
    ends = np.array([ends_s.get(video_id, math.inf) for video_id in table["video_id"].to_pylist()])
    return table.filter(pa.array(table["start_s"].to_numpy() < ends))
