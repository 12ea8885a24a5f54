"""PitVis: steps and instruments per second in 25 pituitary operations (Das et al., arXiv 2409.01184).

Layout: `videos/video_01.mp4` (or `images/video_01/`), `steps_csv/steps_01.csv` (changes only),
`instruments_csv/instruments_01.csv`; or as deposited, `video_01.mp4` and `annotations_01.csv` (see pitvis_deposit).
"""

from typing import Any, ClassVar

import numpy as np

from surgvl.core.errors import DataError
from surgvl.data.readers.base import Found, Splits, VideoDataset, find_files, find_videos
from surgvl.data.readers.pictures import questions_at_pictures
from surgvl.data.readers.pitvis_deposit import read_annotations
from surgvl.data.readers.pitvis_qa import (
    INSTRUMENTS,
    STEP_TABLE,
    STEPS,
    InstrumentTable,
    StepTable,
    make_questions,
    read_instruments,
    read_steps,
)
from surgvl.data.readers.pitvqa import PITVQA_SPLITS
from surgvl.data.spans import Span, Track, runs


def step_tracks(table: StepTable, end_s: float) -> dict[str, Track]:
    """Steps and phases as spans, changes sorted by time; the last step lasts to `end_s`."""
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
    """Instruments as runs of seconds; up to two at a time."""
    num_seconds = len(table.names)
    spans: list[Span] = []
    for code, name in enumerate(INSTRUMENTS):
        there = (table.names == code).any(1)
        if there.any():
            spans += runs(range(num_seconds), np.where(there, name, "").tolist())
    return Track(sorted(spans), float(num_seconds))


class PitVis(VideoDataset):
    """PitVis' tables, with videos where they are at hand."""

    name: ClassVar[str] = "pitvis"
    LICENCE: ClassVar[str] = "CC BY-NC-ND 4.0"
    SOURCE: ClassVar[str] = "arXiv 2409.01184; DOI 10.5522/04/26531686"
    PROCEDURE: ClassVar[str] = "endoscopic pituitary surgery"
    SPECIALTY: ClassVar[str] = "neurosurgery"
    SPLITS: ClassVar[Splits] = PITVQA_SPLITS

    def read(self, found: Found) -> None:
        """Read tables and videos, and make the questions."""
        videos = find_videos(self.root / "images", r"video_\d+", found)
        videos |= find_videos(self.root / "videos", r"video_\d+", found)
        videos |= find_videos(self.root, r"video_\d+", found)
        deposited = find_files(self.root, r"annotations_(\d+)\.csv", found)
        steps = find_files(self.root / "steps_csv", r"steps_(\d+)\.csv", found)
        instruments = find_files(self.root / "instruments_csv", r"instruments_(\d+)\.csv", found)
        numbers = (
            {video_id.removeprefix("video_") for video_id in videos}
            | deposited.keys()
            | steps.keys()
            | instruments.keys()
        )
        for number in sorted(numbers):
            video_id = f"video_{number}"
            path = videos.get(video_id)
            info = self.open_video(found, video_id, path)
            if path is not None and info is None:
                continue
            tracks: dict[str, Track] = {}
            tables: list[Any] = []
            if number in deposited and number not in steps and number not in instruments:
                try:
                    tracks = read_annotations(deposited[number])
                except DataError as error:
                    found.set_aside.append(str(error))
                tracks, _ = self.shown(found, video_id, path, tracks)
                self.add_video(found, video_id, path, info, tracks)
                continue
            for files, reader in ((instruments, read_instruments), (steps, read_steps)):
                if number not in files:
                    found.problems.append(f"{video_id}: no {reader.__name__.removeprefix('read_')} table")
                    continue
                try:
                    tables.append(reader(files[number]))
                except DataError as error:
                    found.set_aside.append(str(error))
            end_s = info.duration_s if info else 0.0
            for table in tables:
                if isinstance(table, InstrumentTable):
                    tracks["instrument"] = instrument_track(table)
                    end_s = tracks["instrument"].end_s
                else:
                    tracks |= step_tracks(table, end_s)
            tracks, times_s = self.shown(found, video_id, path, tracks)
            self.add_video(found, video_id, path, info, tracks)
            if len(tables) == 2:
                qa = make_questions([video_id], [tables[1]], [tables[0]], "pitvqa")
                found.qa.append(qa if times_s is None else questions_at_pictures(qa, times_s))
