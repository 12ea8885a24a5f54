"""A sheet on which people mark answers: a table that spreadsheets can open, and the rules to mark by.

Spreadsheets read a text as a formula, a date or a number where it looks like one, and save what they made of it. In CSV
such texts stand after an apostrophe, which is taken off again; the column `id` tells whether a text came back as it
was. In a workbook (.xlsx) every cell is of type text, which needs neither.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.core.workbook import write_sheet
from surgvl.tasks.answer_files import AnswerRow
from surgvl.tasks.judge import RULE, Case

COLUMNS = ("id", "type", "question", "answer", "prediction", "mark")
_SPACE = re.compile(r"[\x00-\x1f]")
_SHORT = 20
"""Characters of the longest text that may be a date or a number with a unit."""


def sample(rows: Sequence[AnswerRow], num: int, seed: int) -> list[tuple[str, Case]]:
    """A fixed sample of different free answers in a mixed order, by question type as they are in the run.

    Args:
        rows: of a run.
        num: answers to draw; each type has at least one if there are as many, and all are taken if there are fewer.
        seed: of the draw.

    Returns:
        Question type and answer.
    """
    kinds: dict[Case, str] = {}
    for row in rows:
        if row["mode"] == "open" and row["prediction"] and not row["ablated"]:
            kinds.setdefault(Case(row["question"], row["answer"], row["prediction"]), row["type"])
    types: dict[str, list[Case]] = {}
    for case, kind in sorted(kinds.items()):
        types.setdefault(kind, []).append(case)
    generator = np.random.default_rng(seed)
    drawn = []
    for kind, count in _shares({kind: len(cases) for kind, cases in sorted(types.items())}, num).items():
        chosen = generator.choice(len(types[kind]), count, replace=False)
        drawn += [(kind, types[kind][at]) for at in sorted(chosen.tolist())]
    return [drawn[at] for at in generator.permutation(len(drawn)).tolist()]


def _shares(counts: Mapping[str, int], num: int) -> dict[str, int]:
    """How many of each type to draw: in proportion, by largest remainders, at least one where `num` allows it."""
    total = sum(counts.values())
    num = min(num, total)
    least = 1 if num >= len(counts) else 0
    found = {kind: max(least, num * count // total) for kind, count in counts.items()}
    while (rest := num - sum(found.values())) != 0:
        step = 1 if rest > 0 else -1
        free = [kind for kind in counts if least <= found[kind] + step <= counts[kind]]
        # Farthest below its share, or above it.
        kind = max(free, key=lambda each: step * (num * counts[each] / total - found[each]))
        found[kind] += step
    return found


def write_csv(path: Path, rows: Sequence[tuple[str, Case]]) -> None:
    """Write the sheet as CSV, in UTF-8 with a mark that spreadsheets know it by."""
    with atomic(path) as new, new.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([row_id(case), *map(guarded, (kind, *case)), ""] for kind, case in rows)


def write_workbook(path: Path, rows: Sequence[tuple[str, Case]]) -> None:
    """Write the sheet as a workbook.

    Raises:
        ConfigError: openpyxl is not installed.
    """
    write_sheet(path, [COLUMNS, *((row_id(case), kind, *case, "") for kind, case in rows)])


def row_id(case: Case) -> str:
    """Identifies an answer by its texts, up to white space and control characters: 12 characters that are no number."""
    text = "\0".join(" ".join(_SPACE.sub(" ", each).split()) for each in case)
    return "m" + hashlib.sha256(text.encode()).hexdigest()[:11]


def guarded(text: str) -> str:
    """A text that a spreadsheet leaves as it is: after an apostrophe, if it may look like something else."""
    short = len(text) <= _SHORT and any(letter.isdigit() for letter in text)
    risky = not text[:1].isalpha() or short or text.casefold() in ("true", "false")
    return f"'{text}" if text and risky else text


def case_of(row: Mapping[str, str], where: str) -> Case:
    """The answer in a row of a sheet.

    Raises:
        DataError: its texts are not those of its id.
    """
    written = [row[name] for name in ("question", "answer", "prediction")]
    for case in (Case(*(text.removeprefix("'") for text in written)), Case(*written)):
        if row_id(case) == row["id"]:
            return case
    raise DataError(
        f"{where}: the texts of {row['id'] or 'a row without id'} differ from those that were written, as where a "
        "spreadsheet makes a date of one: copy them from the sheet that `surgvl judge --to_mark` wrote"
    )


def instructions(num: int, after: str) -> str:
    """The rules for people who mark, as Markdown.

    Args:
        num: answers to mark.
        after: the command that reads the marks.
    """
    rule = " ".join(RULE.split()).replace("the answer", "the prediction", 1)
    return f"""# How to mark

Each row of the sheet has a `question`, its reference `answer`, and a `prediction`: what a model answered. For each of
the {num:,} rows, {rule}

- Write `correct` or `incorrect` in the column `mark`. If you cannot tell, leave it empty: it is counted as not marked.
- Change nothing else. Rows may be sorted, and columns added.
- Mark alone, without a look at the marks of other people or of a judge, and without the video: the judge has none.
- `to_mark.xlsx` is safest in spreadsheets. An apostrophe in front of a text in `to_mark.csv` belongs to the file.
- Let at least two people mark a copy each, such as `ann.csv` and `ben.csv`: how far they agree is the most that can be
  asked of a judge.

Then:

    {after}
"""
