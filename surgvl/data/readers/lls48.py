"""LLS48-VQA: 48 laparoscopic left lateral sectionectomies with steps, tasks and actions (arXiv 2601.12312, 2602.13633).

Neither labels nor questions are public. The layout below is our own and not verified on real data; the phantom is
written in it.

    splits.json                        {"train": [ids], "val": [ids], "test": [ids]}; there is no published split
    videos/video_01.mp4                or images/video_01/00000.png, one per second
    steps/video_01.csv                 start,end,step: seconds, [start, end)
    tasks/video_01.csv                 start,end,task
    actions/video_01.csv               start,end,instrument,verb,target and optionally side, where the instrument enters
    QA/video_01/00000.txt              question|answer; optional, by default questions are generated from the tables

Questions about each second refer to its middle: its step, its task and its action, or its action from each side if the
table has sides. A question with two answers is dropped.
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
    """One table: spans in file order and, for actions, the side of each (all empty if the file has none)."""

    spans: list[Span]
    sides: list[str]


def read_label_table(path: Path, level: str) -> LabelTable:
    """Read the table of one level; an action's label is `instrument_verb_target`.

    Args:
        path: the csv file.
        level: step, task or action.

    Raises:
        DataError: other columns, an invalid time, an end not after its start, or an empty label.
    """
    names = COLUMNS[level]
    columns = read_csv(path, ("start", "end", *names), ("side",) if level == "action" else ())
    spans: list[Span] = []
    for at, line in enumerate(columns["line"]):
        start_s, end_s = (parse_seconds(columns[name][at], path, line, name) for name in ("start", "end"))
        words = [columns[name][at] for name in names]
        if end_s <= start_s or not all(words):
            fact = f"{level} {'_'.join(words)!r} from {start_s:g} s to {end_s:g} s"
            raise DataError(
                f"{path}, line {line}: {fact}: names must not be empty, and the end must be after the start"
            )
        spans.append((start_s, end_s, "_".join(words)))
    return LabelTable(spans, columns.get("side", [""] * len(spans)))


def make_questions(levels: Mapping[str, LabelTable]) -> tuple[list[int], list[QuestionLine]]:
    """Generate the questions that the tables answer.

    Args:
        levels: tables of one video by level; missing levels give no questions.

    Returns:
        The second of each question, and the questions.
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
    LICENCE_FROM = "its papers"
    SOURCE = "arXiv 2601.12312, 2602.13633; not public: schema of ours, not verified on real data"
    PROCEDURE = "laparoscopic left lateral sectionectomy"
    SPECIALTY = "general surgery"
    ABSENT = (
        "LLS48-VQA is not public: ask its authors (arXiv 2601.12312) and convert them to the schema at the top of "
        "surgvl/data/readers/lls48.py; `surgvl phantom --out phantom` writes an example in phantom/lls48"
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
                shown_s = picture_starts(path) if path is not None and path.is_dir() else None
                qa = read_questions(texts[video_id], video_id, self.name, contents, TextFiles(), tally, shown_s)
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
            contents.problems.append("no splits.json: there is no published split, so no video has one")
