"""SurgVU: 155 robotic training procedures, surgical tasks and installed tools (Zia et al., arXiv 2501.09209).

Layout: `case_000/tasks.csv` (start_part, start_time, stop_part, stop_time, groundtruth_taskname; other columns are
ignored) and `case_000/tools.csv` (install_case_part, install_case_time, uninstall_case_part, uninstall_case_time,
groundtruth_toolname, arm), also below `labels/`, and `case_000/case_000_video_part_001.mp4`. Times are seconds or
h:mm:ss within a part; a video is a part. Rows over several parts are cut at the end of each.

Category 2 of its challenge, also alone: `ground_truth/case001.json`, a list of accepted answers of which the first is
used, `questions/case001.json`, the question, a JSON string, and `videos/case001.mp4`. Answers are free text.

Repeated rows are counted and read once. There is no published split of the training cases.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.plurals import plural
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.text_files import is_whole, parse_int, parse_seconds, read_csv
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track
from surgvl.data.tables import QA, schema_of

# Task -> file, columns of the first part, first time, last part, last time, and label.
_TABLES = {
    "task": ("tasks.csv", ("start_part", "start_time", "stop_part", "stop_time", "groundtruth_taskname")),
    "tool": (
        "tools.csv",
        (
            "install_case_part",
            "install_case_time",
            "uninstall_case_part",
            "uninstall_case_time",
            "groundtruth_toolname",
        ),
    ),
}


def read_table(path: Path, columns: Sequence[str]) -> tuple[dict[int, list[Span]], list[str]]:
    """Read one table of a case.

    Args:
        path: the file.
        columns: first part, first time, last part, last time, label.

    Returns:
        Part -> spans sorted by time, infinite where a row goes on in the next part; and notes for the user.

    Raises:
        DataError: a column is missing, or a part or time is invalid.
    """
    table = read_csv(path, columns, ignore_others=True)
    parts: dict[int, set[Span]] = {}
    repeated = unnamed = 0
    for first, start, last, stop, label, line in zip(*(table[name] for name in (*columns, "line")), strict=True):
        if not label:
            unnamed += 1
            continue
        numbers = range(
            parse_int(first, path, line, columns[0], least=1), parse_int(last, path, line, columns[2], least=1) + 1
        )
        start_s, stop_s = (parse_seconds(text, path, line, "time") for text in (start, stop))
        if not numbers or (len(numbers) == 1 and stop_s <= start_s):
            raise DataError(f"{path}, line {line}: {label} ends before it starts: correct the row")
        for part in numbers:
            span = (start_s if part == numbers[0] else 0.0, stop_s if part == numbers[-1] else math.inf, label)
            known = parts.setdefault(part, set())
            repeated += span in known
            if span[1] > span[0]:
                known.add(span)
    notes = [f"{plural(repeated, 'repeated row')} of {path.name} read once"] if repeated else []
    notes += [f"{plural(unnamed, 'row')} of {path.name} without a label left out"] if unnamed else []
    return {part: sorted(spans) for part, spans in parts.items()}, notes


def read_answers(path: Path) -> list[str]:
    """The accepted answers of a case.

    Raises:
        DataError: the file is not a list of texts.
    """
    answers: Any = read_json(path)
    if (
        not isinstance(answers, list)
        or not answers
        or not all(isinstance(text, str) and text and is_whole(text) for text in answers)
    ):
        raise DataError(f"{path} is not a list of answers: correct the file")
    return answers


class SurgVU(VideoDataset):
    """SurgVU's tables of tasks and tools, and questions in the form of its challenge."""

    name = "surgvu"
    LICENCE = "CC BY-NC-SA 4.0"
    SOURCE = "arXiv 2501.09209; surgvu26.grand-challenge.org; layouts of public readers, not verified on the files"
    PROCEDURE = "robotic training procedure"
    SPECIALTY = "training"

    def read(self, contents: Contents) -> None:
        """Read the tables of each case, then the questions."""
        folders = find_files(self.root / "labels", r"(case_\d+)", contents)
        cases = {name: path for name, path in find_files(self.root, r"(case_\d+)", contents).items() if path.is_dir()}
        for case in sorted(cases.keys() | folders.keys()):
            self._add_case(contents, case, cases.get(case), folders.get(case) or cases[case])
        self._add_questions(contents)

    def _add_case(self, contents: Contents, case: str, films: Path | None, labels: Path) -> None:
        """Add the parts of one case."""
        tables: dict[str, dict[int, list[Span]]] = {}
        for task, (name, columns) in _TABLES.items():
            try:
                if (labels / name).is_file():
                    tables[task], notes = read_table(labels / name, columns)
                    contents.problems += [f"{case}: {note}" for note in notes]
                else:
                    contents.problems.append(f"{case}: no {name}")
            except DataError as error:
                contents.unreadable.append(str(error))
        names = rf"{case}_video_part_\d+"
        videos = find_videos(films, names, contents) if films else {}
        if films:
            contents.unmatched[films] -= {name for name, _ in _TABLES.values()}
        numbers = {int(name.rsplit("_", 1)[1]) for name in videos} | {
            part for table in tables.values() for part in table
        }
        for part in sorted(numbers):
            video_id = f"{case}_video_part_{part:03d}"
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            if path is not None and info is None:
                continue
            spans = {task: table.get(part, []) for task, table in tables.items()}
            known_s = [end for each in spans.values() for start, stop, _ in each for end in (start, stop)]
            end_s = info.duration_s if info else max((end for end in known_s if math.isfinite(end)), default=0.0)
            tracks = {
                task: Track(
                    [(start, min(stop, end_s) if math.isinf(stop) else stop, label) for start, stop, label in each],
                    max((stop for _, stop, _ in each if math.isfinite(stop)), default=end_s),
                    whole=False,
                )
                for task, each in spans.items()
            }
            for track in tracks.values():
                track.spans = [span for span in track.spans if span[1] > span[0]]
            self.add_video(contents, video_id, path, info, tracks)

    def _add_questions(self, contents: Contents) -> None:
        """Add the clips of category 2 with their questions."""
        answers = find_files(self.root / "ground_truth", r"(case\d+)\.json", contents)
        questions = find_files(self.root / "questions", r"(case\d+)\.json", contents)
        videos = find_videos(self.root / "videos", r"case\d+", contents)
        for case in sorted(answers.keys() | questions.keys() | videos.keys()):
            if case not in answers or case not in questions:
                lacking = "answers in ground_truth/" if case not in answers else "question in questions/"
                contents.problems.append(f"{case}: no {lacking}, left out")
                continue
            path = videos.get(case)
            info = self.open_video(contents, case, path)
            try:
                texts, question = read_answers(answers[case]), read_json(questions[case])
                if not isinstance(question, str) or not re.search(r"\w", question) or not is_whole(question):
                    raise DataError(f"{questions[case]} is not a question in quotation marks: correct the file")
            except DataError as error:
                contents.unreadable.append(str(error))
                continue
            end_s = info.duration_s if info else 1.0
            row = {"video_id": case, "start_s": 0.0, "end_s": end_s, "question": question, "answer": texts[0]}
            row |= {"type": "open", "source": self.name, "box": "", "conversation": ""}
            self.add_video(contents, case, path, info, {"question": Track([], end_s, whole=False)})
            if path is None or info is not None:
                contents.qa.append(pa.Table.from_pylist([row], schema=schema_of(QA)))
