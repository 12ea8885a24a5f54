"""Lists of answers that people have marked, as `surgvl judge --marks` takes them: own tables, or published lists.

Tables that share answers are marks of several people on one list.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import surgvl.tasks.marks
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError
from surgvl.core.registry import discover
from surgvl.core.workbook import read_sheet
from surgvl.tasks.judge import VERDICTS, Case
from surgvl.tasks.marking_sheet import case_of, row_id
from surgvl.tasks.marks.base import Marked, MarkedList, PublishedMarks

COLUMNS = ("question", "answer", "prediction", "mark")


def published() -> dict[str, type[PublishedMarks]]:
    """Published lists by name."""
    return discover(surgvl.tasks.marks, PublishedMarks)  # type: ignore[type-abstract]


def read_lists(paths: Sequence[Path]) -> list[MarkedList]:
    """Read lists, in the order given.

    Args:
        paths: own tables (see `read_table`), or `NAME:PATH`, a published list and its file or folder.

    Raises:
        DataError: a list cannot be read, has no mark, or its name is unknown.
    """
    lists: list[MarkedList] = []
    tables: list[tuple[Path, list[Marked]]] = []
    for path in paths:
        name, _, rest = str(path).partition(":")
        if rest and not path.exists():
            known = published()
            if name not in known:
                advice = did_you_mean(name, known, "give a file, or one of them")
                raise DataError(f"{path}: there is no list {name!r}; known are {', '.join(known)}: {advice}")
            lists.append(known[name]().read(Path(rest)))
        else:
            tables.append((path, read_table(path)))
    lists = [*_joined(tables), *lists]
    for each in lists:
        if not any(any(row.marks) for row in each.rows):
            raise DataError(f"{each.name} has no mark: write correct or incorrect in the column mark")
    return lists


def read_table(path: Path) -> list[Marked]:
    """Answers with the marks of one person: CSV, TSV or XLSX with the columns question,answer,prediction,mark.

    Args:
        path: the file; `answer` is the reference, `mark` is correct, incorrect, or empty where the person gave none.
            Sheets of `surgvl judge --to_mark` also have an `id`, and a `type` to report by.

    Raises:
        DataError: it cannot be read, columns are missing, a mark is another one, a question or reference is empty, or
            a text is not that of its id.
    """
    head, *rows = read_sheet(path) if path.suffix.lower() == ".xlsx" else _cells(path)
    if not rows or not set(COLUMNS) <= set(head):
        raise DataError(f"{path} must have rows, and a header with {','.join(COLUMNS)}: add them")
    found = []
    for number, cells in enumerate(rows, 2):
        where = f"{path}, row {number}"
        if len(cells) > len(head) and any(cells[len(head) :]):
            raise DataError(f"{where}: {len(cells)} cells for {len(head)} columns: quote the texts")
        row = dict.fromkeys(head, "") | dict(zip(head, cells, strict=False))
        mark = row["mark"].strip().casefold()
        if mark not in (*VERDICTS, ""):
            raise DataError(f"{where}: mark must be correct or incorrect, got {row['mark']!r}: correct it")
        if not row["question"] or not row["answer"]:
            raise DataError(f"{where}: the question or the reference answer is empty: add it")
        case = case_of(row, where) if "id" in row else Case(row["question"], row["answer"], row["prediction"])
        found.append(Marked(case, (mark,), row.get("type", "").removeprefix("'")))
    return found


def drawn(given: MarkedList, num: int, seed: int) -> MarkedList:
    """A fixed sample of a list's answers, in their order; the whole list if it has no more, or `num` is 0."""
    rows = [row for row in given.rows if any(row.marks)]
    if not 0 < num < len(rows):
        return given
    chosen = np.random.default_rng(seed).choice(len(rows), num, replace=False)
    return replace(given, rows=[rows[at] for at in sorted(chosen.tolist())])


def _cells(path: Path) -> list[list[str]]:
    """Rows of a text file; spreadsheets separate by comma, semicolon or tab, as the country has it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            return [row for row in csv.reader(file, delimiter=delimiter, strict=True) if any(row)] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): give a CSV file of {','.join(COLUMNS)} in UTF-8") from error


def _joined(tables: Sequence[tuple[Path, list[Marked]]]) -> list[MarkedList]:
    """Tables as lists: those that share answers are one, with a person for each table, in whatever order they come."""
    groups: list[list[tuple[str, list[Marked]]]] = []
    for path, rows in tables:
        ids = {row_id(row.case) for row in rows}
        alike = [each for each in groups if any(row_id(row.case) in ids for _, own in each for row in own)]
        joined = [*(own for each in alike for own in each), (path.name, rows)]
        at = groups.index(alike[0]) if alike else len(groups)
        groups = [each for each in groups if each not in alike]
        groups.insert(at, joined)
    return [_list_of(group) for group in groups]


def _list_of(group: Sequence[tuple[str, list[Marked]]]) -> MarkedList:
    """The tables of the same answers as one list."""
    name = " and ".join(name for name, _ in group)
    rows, people = group[0][1], "a person"
    if len(group) > 1:
        for name_of, own in group:
            case, count = Counter(row.case for row in own).most_common(1)[0]
            if count > 1:
                raise DataError(f"{name_of} has {case.prediction!r:.60} {count} times: leave one row of them")
        marks = [{row_id(row.case): row.marks[0] for row in own} for _, own in group]
        known = {row_id(row.case): row for _, own in group for row in own}
        rows = [row._replace(marks=tuple(own.get(id, "") for own in marks)) for id, row in known.items()]
        people = f"{len(group)} people"
    empty = sum(not mark for row in rows for mark in row.marks)
    return MarkedList(name, rows, people, left_out={"not marked": empty} if empty else {})
