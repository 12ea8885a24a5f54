"""LLS48-VQA: 48 laparoscopic left lateral sectionectomies with steps, tasks and actions (arXiv 2601.12312, 2602.13633).

Neither the labels nor the questions are public. The layout below is ours, not verified on real data; the phantom
writes it.

    splits.json                        {"train": [ids], "val": [ids], "test": [ids]}; there is no published split
    videos/video_01.mp4                or images/video_01/00000.png, one a second
    steps/video_01.csv                 start,end,step: seconds, a step lasts to `end`, which is not part of it
    tasks/video_01.csv                 start,end,task
    actions/video_01.csv               start,end,instrument,verb,target and perhaps side, whence the instrument comes
    QA/video_01/00000.txt              question|answer, if there are questions; else they are made from the tables

Each whole second is asked about by what its middle shows: its step, its task and its action, or its action from each
side where the table knows sides. A question that would have two answers is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import DataError
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.pictures import questions_at_pictures
from surgvl.data.formats.qa_text import QuestionLine, question_table
from surgvl.data.formats.qa_tree import Tally, TextFiles, picture_starts, read_questions, text_folders
from surgvl.data.formats.text_files import parse_seconds, read_csv
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track, cover

COLUMNS = {"step": ("step",), "task": ("task",), "action": ("instrument", "verb", "target")}
STEP = "Which surgical step is this?"
TASK = "Which surgical task is performed?"
ACTION = "Which action is performed?"
ACTION_FROM = "Which action is performed by the instrument from the {side}?"


@dataclass(frozen=True)
class LabelTable:
    """One table: spans in order of the file, and for actions the side of each, all empty where the file has none."""

    spans: list[Span]
    sides: list[str]


def read_label_table(path: Path, level: str) -> LabelTable:
    """Read the table of one level; an action's label is `instrument_verb_target`.

    Args:
        path: the csv file.
        level: step, task or action.

    Raises:
        DataError: other columns, a time that is none, a row without length or with an empty label.
    """
    names = COLUMNS[level]
    columns = read_csv(path, ("start", "end", *names), ("side",) if level == "action" else ())
    spans: list[Span] = []
    for at, line in enumerate(columns["line"]):
        start_s, end_s = (parse_seconds(columns[name][at], path, line, name) for name in ("start", "end"))
        words = [columns[name][at] for name in names]
        if end_s <= start_s or not all(words):
            fact = f"{level} {'_'.join(words)!r} from {start_s:g} s to {end_s:g} s"
            raise DataError(f"{path}, line {line}: {fact}: give all names, and an end after the start")
        spans.append((start_s, end_s, "_".join(words)))
    return LabelTable(spans, columns.get("side", [""] * len(spans)))


def make_questions(levels: Mapping[str, LabelTable]) -> tuple[list[int], list[QuestionLine]]:
    """Questions that the tables answer, by second.

    Args:
        levels: tables of one video by level; those that are not there are not asked about.

    Returns:
        Seconds and questions, of equal length.
    """
    end_s = max((span[1] for level in levels.values() for span in level.spans), default=0.0)
    num_seconds = int(end_s + 1e-6)
    asked: list[list[QuestionLine]] = [[] for _ in range(num_seconds)]
    for name in COLUMNS:
        if name not in levels:
            continue
        level = levels[name]
        rows: list[list[int]] = [[] for _ in range(num_seconds)]
        starts_s, ends_s = (np.array([span[at] for span in level.spans]) for at in (0, 1))
        pairs = cover(starts_s, ends_s, np.arange(num_seconds) + 0.5)
        for second, row in zip(*(part.tolist() for part in pairs), strict=True):
            rows[second].append(row)
        for second, there in enumerate(rows):
            sides = [level.sides[row] for row in there]
            asked[second] += [
                QuestionLine(_wording(name, side), level.spans[row][2], name)
                for row, side in zip(there, sides, strict=True)
                if sides.count(side) == 1
            ]
    return [at for at, rows in enumerate(asked) for _ in rows], [row for rows in asked for row in rows]


def _wording(level: str, side: str) -> str:
    return {"step": STEP, "task": TASK}.get(level) or (ACTION_FROM.format(side=side) if side else ACTION)


class LLS48(VideoDataset):
    """Tables and questions in the layout above."""

    name = "lls48"
    LICENCE = "not public"
    SOURCE = "arXiv 2601.12312, 2602.13633; not public: schema of ours, not verified on real data"
    PROCEDURE = "laparoscopic left lateral sectionectomy"
    SPECIALTY = "general surgery"
    ABSENT = (
        "LLS48-VQA is not public, ask its authors (arXiv 2601.12312) and bring labels into the schema at the top of "
        "surgvl/data/readers/lls48.py; `surgvl phantom --out phantom` writes it in phantom/lls48"
    )

    def read(self, contents: Contents) -> None:
        """Read videos, tables and questions."""
        videos = find_videos(self.root / "images", r"video_\d+", contents)
        videos |= find_videos(self.root / "videos", r"video_\d+", contents)
        tables = {level: find_files(self.root / f"{level}s", r"(video_\d+)\.csv", contents) for level in COLUMNS}
        texts = text_folders(self.root / "QA", r"(video_\d+)", contents)
        tally = Tally()
        for video_id in sorted(videos.keys() | texts.keys() | {name for files in tables.values() for name in files}):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            if path is not None and info is None:
                continue
            levels: dict[str, LabelTable] = {}
            for level, files in tables.items():
                try:
                    if video_id in files:
                        levels[level] = read_label_table(files[video_id], level)
                    elif video_id not in texts:
                        contents.problems.append(f"{video_id}: no {level} table")
                except DataError as error:
                    contents.unreadable.append(str(error))
            qa: Any = None
            if video_id in texts:
                starts_s_of = picture_starts(path) if path is not None and path.is_dir() else None
                qa = read_questions(texts[video_id], video_id, self.name, contents, TextFiles(), tally, starts_s_of)
            elif levels:
                seconds, asked = make_questions(levels)
                qa = question_table(video_id, [float(second) for second in seconds], asked, self.name)
            tracks = {
                level: Track(table.spans, max(span[1] for span in table.spans), whole=False)
                for level, table in levels.items()
                if table.spans
            }
            tracks, times_s = self.as_shown(contents, video_id, path, tracks)
            if qa is not None and video_id not in texts and times_s is not None:
                qa = questions_at_pictures(qa, times_s)
            end_s = max(qa["end_s"].to_pylist(), default=0.0) if qa is not None else 0.0
            if info is None and not tracks and not end_s:
                continue
            self.add_video(contents, video_id, path, info, {**tracks, "question": Track([], end_s, whole=False)})
            if qa is not None:
                contents.qa.append(qa)
        tally.report(contents, self.name, TextFiles())
        if contents.videos and not self.protocol:
            contents.problems.append("no splits.json: there is no published split, and every video stays without one")
