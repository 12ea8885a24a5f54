"""The text tree of surgical question answering: `QA/video_01/00000.txt` for each second, lines `question|answer`."""

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from surgvl.data.base import Found
from surgvl.data.tables import QA, schema_of
from surgvl.errors import DataError

# PitVQA's nine templates first, then words that tell the kind of a question in sets without published templates.
_TYPES = (
    ("next_phase", r"next (surgical )?phase"),
    ("next_step", r"next (surgical )?step"),
    ("next_task", r"next (surgical )?task"),
    ("phase", r"phase"),
    ("step", r"step"),
    ("task", r"task"),
    ("count", r"^how many"),
    ("operation", r"surgical operation"),
    ("activity", r"surgical activity"),
    ("position", r"^where"),
    ("instrument", r"^(what|which) (instrument|tool)"),
    ("target", r"^(what|which) (target|anatomy|structure|organ|tissue)"),
    ("action", r"action|verb|doing|triplet"),
)


def question_type(question: str) -> str:
    """Kind of a question, by its words; `other` where none is known."""
    text = question.lower()
    return next((kind for kind, pattern in _TYPES if re.search(pattern, text)), "other")


def read_qa_tree(
    folder: Path, source: str, found: Found, drop: frozenset[str] = frozenset(), pattern: str = r"video_?\d+"
) -> dict[str, Any]:
    """Read every text file of the tree.

    Args:
        folder: holds one folder for each video with files `00000.txt`, named by second.
        source: name of the question set, for the source column.
        found: takes remarks; a file that cannot be read is set aside.
        drop: answers whose questions are left out (their number is remarked on).
        pattern: what a video's folder is called.

    Returns:
        Video id (its folder's name) -> arrow table with the columns of `QA`, by second and line.
    """
    tables: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    dropped = 0
    for video in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not (video.is_dir() and re.fullmatch(pattern, video.name)):
            continue
        seconds: list[int] = []
        questions: list[str] = []
        answers: list[str] = []
        for name in sorted(os.listdir(video)):
            if not (match := re.fullmatch(r"(?:frame)?(\d+)(?:_QA)?\.txt", name)):
                continue
            try:
                pairs = read_pairs(video / name)
            except DataError as error:
                found.set_aside.append(str(error))
                continue
            for question, answer in pairs:
                if answer in drop:
                    dropped += 1
                    continue
                seconds.append(int(match[1]))
                questions.append(question)
                answers.append(answer)
        types = [kinds.setdefault(question, question_type(question)) for question in questions]
        start = pa.array(seconds, pa.float64())
        columns = [
            pa.array([video.name] * len(seconds), pa.string()),
            start,
            pa.array([second + 1 for second in seconds], pa.float64()),
            *(pa.array(values, pa.string()) for values in (questions, answers, types, [source] * len(seconds))),
        ]
        tables[video.name] = pa.table(columns, schema=schema_of(QA))
    if dropped:
        found.problems.append(
            f"{dropped} questions of {source} are left out, as its loader does: {', '.join(sorted(drop))}"
        )
    return tables


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Questions and answers of one file; an empty file holds none.

    Raises:
        DataError: a line without exactly one `|` between two texts, or a file that cannot be opened.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            question, _, answer = (part.strip() for part in line.partition("|"))
            if not question or not answer or "|" in answer:
                raise DataError(f"{path}, line {number}: {line!r} is not question|answer: correct the line")
            pairs.append((question, answer))
    return pairs
