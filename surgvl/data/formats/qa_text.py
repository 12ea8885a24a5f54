"""Question files: lines `question|answer`, optionally with a box, and the type of each question.

The layouts are those of PitVQA (arXiv 2405.13949), Surgical-VQA (2206.11053) and Surgical-VQLA (2305.11692).
"""

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.data.formats.text_files import decode_text, short_repr
from surgvl.data.tables import QA, add_empty_columns

# PitVQA's nine templates first, then keywords for data sets without published templates.
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
    ("state", r"^what is the state"),
    ("presence", r"^(is|are) (there|.*\b(used|present|visible|in use)\b)"),
)


class QuestionLine(NamedTuple):
    """One line of a question file; `type` and `box` are empty if the line has none."""

    question: str
    answer: str
    type: str = ""
    box: str = ""


Parse = Callable[[str], QuestionLine]
"""Parses a line; raises ValueError with the expected form."""


@lru_cache(maxsize=1 << 16)
def question_type(question: str, free: bool = False) -> str:
    """Type of a question, by keywords; `other` if none matches.

    Args:
        question: the text.
        free: whether the answer is free text: the type is then `open_phase`, ..., or `open`.

    >>> question_type("What is the next surgical step?"), question_type("Why?", free=True)
    ('next_step', 'open')
    """
    text = question.lower()
    kind = next((kind for kind, pattern in _TYPES if re.search(pattern, text)), "open" if free else "other")
    return f"open_{kind}" if free and kind != "open" else kind


def parse_pair(line: str, first_px: int = 0) -> QuestionLine:
    """Read `question|answer` or `question|answer|x1,y1,x2,y2`.

    Args:
        line: without its line break.
        first_px: coordinate of the left and upper edge in the file, 0 or 1; the result counts from 0.

    Raises:
        ValueError: the line has a different form.

    >>> parse_pair("where is suction located?|left-top|1, 11,101,201", first_px=1).box
    '0,10,100,200'
    """
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (2, 3) or not fields[0] or not fields[1]:
        raise ValueError("is not question|answer or question|answer|x1,y1,x2,y2")
    return QuestionLine(fields[0], fields[1], box=box_text(fields[2], first_px) if len(fields) == 3 else "")


def box_text(text: str, first_px: int = 0) -> str:
    """A box in the manifest's form: x1,y1,x2,y2 in pixels from 0.

    Raises:
        ValueError: the text is not four numbers in increasing order.
    """
    try:
        x1, y1, x2, y2 = (float(number) - first_px for number in text.split(","))
    except ValueError:
        raise ValueError(f"has {short_repr(text)} where a box x1,y1,x2,y2 should be") from None
    if not (0 <= x1 <= x2 < float("inf") and 0 <= y1 <= y2 < float("inf")):
        raise ValueError(f"has box {short_repr(text)}, which is not x1 <= x2 and y1 <= y2 from {first_px}")
    return ",".join(f"{value:g}" for value in (x1, y1, x2, y2))


def read_question_lines(path: Path, parse: Parse = parse_pair, header: int = 0) -> list[tuple[int, QuestionLine]]:
    """The questions of a file with their line numbers, from 1; an empty file has none.

    Args:
        path: the file.
        parse: parses a line.
        header: number of non-empty lines at the top that are not questions.

    Raises:
        DataError: a line of a different form, or a file that cannot be opened or decoded.
    """
    lines = [(number, line) for number, line in enumerate(decode_text(path).splitlines(), 1) if line.strip()]
    found = []
    for number, line in lines[header:]:
        try:
            found.append((number, parse(line)))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {short_repr(line)} {error}: correct the line") from None
    return found


def question_table(video_id: str, starts_s: list[float], asked: list[QuestionLine], source: str) -> Any:
    """Arrow table with the columns of `QA`; each question is about the second that begins at its start."""
    times = {"start_s": starts_s, "end_s": [start_s + 1 for start_s in starts_s]}
    texts = {
        "question": [row.question for row in asked],
        "answer": [row.answer for row in asked],
        "type": [row.type for row in asked],
        "source": [source] * len(asked),
        "box": [row.box for row in asked],
    }
    columns = {"video_id": pa.array([video_id] * len(asked), pa.string())}
    columns |= {name: pa.array(values, pa.float64()) for name, values in times.items()}
    columns |= {name: pa.array(values, pa.string()) for name, values in texts.items()}
    return add_empty_columns(pa.table(columns), QA)
