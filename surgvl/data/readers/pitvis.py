"""PitVis: steps and instruments per second in 25 pituitary operations (Das et al., arXiv 2409.01184).

Layout: `videos/video_01.mp4` (or `images/video_01/`), `steps_csv/steps_01.csv` (changes only),
`instruments_csv/instruments_01.csv`; or as deposited (DOI 10.5522/04/26531686), `video_01.mp4` and
`annotations_01.csv`, a row of numbers for each second. The deposit lacks positions, so no questions can be made of it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.pictures import questions_at_pictures
from surgvl.data.formats.pitvis_qa import (
    INSTRUMENTS,
    PHASES,
    STEP_TABLE,
    STEPS,
    InstrumentTable,
    StepTable,
    make_questions,
    read_instruments,
    read_steps,
)
from surgvl.data.formats.text_files import no_rows, parse_int, read_csv
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.readers.pitvqa import PITVQA_SPLITS
from surgvl.data.spans import Span, Track, join_runs

# Columns of the deposited tables: steps count from 1, instruments in the order of their names.
_COLUMNS = ("int_time", "int_step", "int_instrument1", "int_instrument2")
_TOOLS = dict(enumerate(sorted(INSTRUMENTS), 1))


def step_tracks(table: StepTable, end_s: float) -> dict[str, Track]:
    """Steps and phases as spans, with changes sorted by time; the last step lasts until `end_s`."""
    order = np.argsort(table.times_s, kind="stable")
    edges = [*table.times_s[order].tolist(), max(end_s, float(table.times_s.max()) + 1)]
    spans: dict[str, list[Span]] = {"step": [], "phase": []}
    for step, start, end in zip(table.steps[order].tolist(), edges, edges[1:], strict=False):
        if step < 0 or end <= start:
            continue
        for task, label in (("step", STEPS[step]), ("phase", STEP_TABLE[step][1])):
            if spans[task] and spans[task][-1][1] == start and spans[task][-1][2] == label:
                start_before = spans[task].pop()[0]
                spans[task].append((start_before, float(end), label))
            else:
                spans[task].append((float(start), float(end), label))
    return {"step": Track(spans["step"], end_s, list(table.notes)), "phase": Track(spans["phase"], end_s)}


def instrument_track(table: InstrumentTable) -> Track:
    """Instruments as runs of seconds, up to two at a time."""
    num_seconds = len(table.names)
    spans: list[Span] = []
    for code, name in enumerate(INSTRUMENTS):
        seconds = np.flatnonzero((table.names == code).any(1)).tolist()
        spans += join_runs(seconds, [name] * len(seconds))
    return Track(sorted(spans), float(num_seconds))


def read_annotations(path: Path) -> dict[str, Track]:
    """Read a deposited table into tracks `step`, `phase` and `instrument`; each row stands for a second.

    Raises:
        DataError: wrong columns, a step or instrument out of range, or seconds that do not increase.
    """
    columns = read_csv(path, _COLUMNS, ignore_others=True)
    seconds: list[int] = []
    steps: list[int] = []
    tools: list[set[int]] = []
    for time, step, one, two, line in zip(*(columns[name] for name in (*_COLUMNS, "line")), strict=True):
        second = parse_int(time, path, line, "int_time", least=0)
        if seconds and second <= seconds[-1]:
            raise DataError(f"{path}, line {line}: second {second} comes after second {seconds[-1]}: sort the rows")
        seconds.append(second)
        steps.append(parse_int(step, path, line, "int_step"))
        if steps[-1] != -1 and not 1 <= steps[-1] <= len(STEPS):
            raise DataError(
                f"{path}, line {line}: int_step must be -1 or 1 to {len(STEPS)}, got {step}: correct the row"
            )
        tools.append({parse_int(text, path, line, "instrument") for text in (one, two)})
        if wrong := tools[-1] - _TOOLS.keys() - {-2, -1, 0}:
            raise DataError(
                f"{path}, line {line}: instrument must be -2 to {len(_TOOLS)}, got {min(wrong)}: correct the row"
            )
    if not seconds:
        raise no_rows(path)
    end_s = seconds[-1] + 1.0
    gaps = seconds[-1] + 1 - len(seconds)
    notes = [f"{plural(gaps, 'second')} without a row in {path.name}"] if gaps else []
    names = [STEPS[step - 1] if step > 0 else "" for step in steps]
    phases = [STEP_TABLE[step - 1][1] if step > 0 else "" for step in steps]
    instruments: list[Span] = []
    for number, tool in _TOOLS.items():
        instruments += join_runs(seconds, [tool if number in there else "" for there in tools])
    return {
        "step": Track(join_runs(seconds, names), end_s, notes),
        "phase": Track(join_runs(seconds, phases), end_s),
        "instrument": Track(sorted(instruments), end_s),
    }


class PitVis(VideoDataset):
    """PitVis' tables, and its videos if they are at hand."""

    name = "pitvis"
    LICENCE = "CC BY-NC-ND 4.0"
    SOURCE = "arXiv 2409.01184; DOI 10.5522/04/26531686"
    PROCEDURE = "endoscopic pituitary surgery"
    SPECIALTY = "neurosurgery"
    CLASSES = {"step": STEPS, "phase": PHASES, "instrument": tuple(_TOOLS.values())}
    SPLITS = PITVQA_SPLITS

    def read(self, contents: Contents) -> None:
        """Read tables and videos, and generate the questions."""
        videos = find_videos(self.root / "images", r"video_\d+", contents)
        videos |= find_videos(self.root / "videos", r"video_\d+", contents)
        videos |= find_videos(self.root, r"video_\d+", contents)
        deposited = find_files(self.root, r"annotations_(\d+)\.csv", contents)
        steps = find_files(self.root / "steps_csv", r"steps_(\d+)\.csv", contents)
        instruments = find_files(self.root / "instruments_csv", r"instruments_(\d+)\.csv", contents)
        numbers = (
            {video_id.removeprefix("video_") for video_id in videos}
            | deposited.keys()
            | steps.keys()
            | instruments.keys()
        )
        for number in sorted(numbers):
            video_id = f"video_{number}"
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            if path is not None and info is None:
                continue
            tracks: dict[str, Track] = {}
            tables: list[Any] = []
            if number in deposited and number not in steps and number not in instruments:
                try:
                    tracks = read_annotations(deposited[number])
                except DataError as error:
                    contents.unreadable.append(str(error))
                tracks, _ = self.as_shown(contents, video_id, path, tracks)
                self.add_video(contents, video_id, path, info, tracks)
                continue
            for files, reader in ((instruments, read_instruments), (steps, read_steps)):
                if number not in files:
                    what = reader.__name__.removeprefix("read_")
                    contents.problems.append(f"{video_id}: no {what} table: {what}_csv/{what}_NN.csv is missing")
                    continue
                try:
                    tables.append(reader(files[number]))
                except DataError as error:
                    contents.unreadable.append(str(error))
            end_s = info.duration_s if info else 0.0
            for table in tables:
                if isinstance(table, InstrumentTable):
                    tracks["instrument"] = instrument_track(table)
                    end_s = tracks["instrument"].end_s
                else:
                    tracks |= step_tracks(table, end_s)
            tracks, times_s = self.as_shown(contents, video_id, path, tracks)
            self.add_video(contents, video_id, path, info, tracks)
            if len(tables) == 2:
                qa = make_questions([video_id], [tables[1]], [tables[0]], "pitvqa")
                contents.qa.append(qa if times_s is None else questions_at_pictures(qa, times_s))
