"""Align labels with the pictures of a frame folder, by the pictures' numbers.

A folder is shown at one picture per second, in the order of the numbers and without gaps (see `surgvl.video`), while
labels refer to times of the operation. So the number of a picture gives its time in the operation, and the labels at
that time move to the second at which the picture is shown.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from surgvl.core.arrays import Float64Array
from surgvl.core.plurals import plural
from surgvl.data.spans import Span, Track
from surgvl.video.frame_folder import image_number, sorted_images

# Common rates of extraction, pictures per second; GraSP counts 45.
RATES = (2, 5, 10, 25, 30, 45, 50, 60)
TOLERANCE_S = 2.0
_ROUNDING_S = 1e-3
_REMEDY = ": check that there is one picture per second of labels, or use the video"


def times_of(folder: Path, end_s: float, first: Sequence[int] = (0,)) -> tuple[Float64Array, list[str]]:
    """Time in the operation of each picture, float64 [P] in order, and notes for the user of the data.

    Numbers count seconds. If they go far beyond the end of the labels, they count frames, at whichever rate of `RATES`,
    or of their own step (0, 25, 50, ...), fits the end best.

    Args:
        folder: numbered pictures.
        end_s: end of the labels; 0 without labels.
        first: candidates for the number of the picture at 0 s, the usual one first; the best fit to the end is taken.

    Raises:
        DataError: see `surgvl.video.frame_folder.sorted_images`.
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
        facts = f"{rate:g} pictures per second of labels, shown at one per second: {(last - base) / rate:.1f} s become"
        notes.append(f"{facts} {len(numbers)} s; extract one per second, or use the video, for true times")
    if num_missing := (int(numbers[-1]) - int(numbers[0])) // step + 1 - len(numbers):
        notes.append(
            f"{plural(num_missing, 'frame file')} missing in {folder}: labels follow the numbers, later times are early"
        )
    if numbers[0] >= base + max(step, rate):
        notes.append(f"the first picture has number {numbers[0]}; it is shown at 0 s with the labels of its number")
    return (numbers - base) / rate, notes


def at_pictures(track: Track, times_s: Float64Array) -> Track:
    """Labels over time as labels over pictures, each shown for one second.

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
        notes.append(f"{lost} of {len(track.spans)} label segments have no picture, left out")
    num_bare = len(times_s) - int(np.searchsorted(times_s, track.end_s - _ROUNDING_S))
    if track.whole and track.end_s and num_bare:
        notes.append(
            f"{num_bare} of {len(times_s)} pictures are after the end of the labels at {track.end_s:.1f} s{_REMEDY}"
        )
    beyond_s = track.end_s - (float(times_s[-1]) + 1)
    if beyond_s > TOLERANCE_S:
        notes.append(f"labels continue for {beyond_s:.1f} s after the last picture{_REMEDY}")
    return Track(spans, float(len(times_s)) if track.end_s else 0.0, notes, track.whole)


def questions_at_pictures(table: Any, times_s: Float64Array) -> Any:
    """Questions about seconds of the operation as questions about pictures; those without a picture are dropped.

    Args:
        table: with the columns of `QA`, of one video.
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
    """The questions that start before the end of their video.

    Args:
        table: with the columns of `QA`.
        ends_s: video id -> duration in seconds; other videos have no end.
    """
    names = table["video_id"].combine_chunks().dictionary_encode()
    ends = np.array([ends_s.get(video_id, math.inf) for video_id in names.dictionary.to_pylist()], np.float64)
    return table.filter(pa.array(table["start_s"].to_numpy() < ends[names.indices.to_numpy()]))
