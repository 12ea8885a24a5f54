"""Sheets on which people mark: what is drawn, and that its texts come back from a spreadsheet as they were.

The oracle of a spreadsheet is openpyxl's own type of each cell, and a stand-in that makes of CSV cells what Excel does.
"""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from surgvl.core.errors import DataError
from surgvl.tasks.judge import RULE, Case
from surgvl.tasks.marked_lists import read_lists, read_table
from surgvl.tasks.marking_sheet import instructions, row_id, sample, write_csv, write_workbook

HARD = [
    ("phase", Case('What "is", then?', "=1+2", "-3")),
    ("phase", Case("Which\nphase;\tnow?", "+49", "@home")),
    ("tool", Case("How many?", "1/2", "007")),
    ("tool", Case("Is it?", "TRUE", "'tis so")),
    ("tool", Case("When?", "3 May", "1e5")),
    ("", Case("Où?", "à gauche – 30°", "  a bell\x07, twice  ")),
    ("2-3", Case("How long does it take, all in all?", "5 minutes", "=HYPERLINK(0)")),
]


def answer(at: int, kind: str, **more: Any) -> dict[str, Any]:
    row = {"question": f"q{at}?", "answer": "a", "prediction": f"p{at}", "type": kind, "mode": "open", "ablated": ""}
    return row | more


def test_a_sample_has_every_type_in_proportion() -> None:
    rows = [answer(at, "phase") for at in range(80)] + [answer(at, "tool") for at in range(100, 118)]
    rows += [answer(200, "rare"), answer(201, "rare")]
    unwanted = [
        answer(300, "x", mode="closed"),
        answer(301, "x", prediction=""),
        answer(302, "x", ablated="black"),
    ]
    found = sample([*rows, *rows[:5], *unwanted], 10, seed=3)
    assert Counter(kind for kind, _ in found) == {"phase": 8, "rare": 1, "tool": 1}
    assert len(set(found)) == 10
    assert found == sample(rows[::-1], 10, seed=3)
    assert found != sample(rows, 10, seed=4)
    phases = [case for kind, case in found if kind == "phase"]
    assert phases != sorted(phases)
    assert len(sample(rows, 2, seed=3)) == 2
    assert len(sample(rows, 1000, seed=3)) == 100
    assert sample(unwanted, 5, seed=3) == []
    # Largest remainders: 3.75, 0.75 and 0.5 of five, with at least one each.
    few = [answer(at, "a") for at in range(15)] + [answer(20 + at, "b") for at in range(3)]
    few += [answer(30 + at, "c") for at in range(2)]
    assert Counter(kind for kind, _ in sample(few, 5, seed=0)) == {"a": 3, "b": 1, "c": 1}


def as_excel(text: str) -> str:
    """What Excel makes of a cell of CSV, roughly: formulas, numbers, dates and truth values lose their form."""
    if text.startswith(("=", "+", "-", "@")):
        return "#NAME?"
    if re.fullmatch(r"[\d.]+(e\d+)?", text.strip(), re.IGNORECASE):
        return f"{float(text):g}"
    if re.fullmatch(r"\d+[/-]\d+|\d+ (May|Jan)|(May|Jan) \d+", text.strip()):
        return "01.05.2026"
    return text.upper() if text.casefold() in ("true", "false") else text


def through_excel(path: Path, changed: Path, delimiter: str) -> Path:
    """Open a CSV file, write a mark in each row, sort, and save."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    rows = sorted([as_excel(text) for text in row[:-1]] + ["correct"] for row in rows)
    with changed.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([head, *rows])
    return changed


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_csv_survives_a_spreadsheet(tmp_path: Path, delimiter: str) -> None:
    write_csv(tmp_path / "to_mark.csv", HARD)
    back = read_table(through_excel(tmp_path / "to_mark.csv", tmp_path / "ann.csv", delimiter))
    assert {(row.part, row.case) for row in back} == set(HARD)
    assert {row.marks for row in back} == {("correct",)}


def test_a_workbook_holds_texts_only(tmp_path: Path) -> None:
    write_workbook(tmp_path / "to_mark.xlsx", HARD)
    book = openpyxl.load_workbook(tmp_path / "to_mark.xlsx")
    sheet = book.active
    assert sheet is not None
    cells = [cell for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s"}
    assert sheet.cell(2, 4).value == "=1+2"
    for number in range(2, len(HARD) + 2):
        sheet.cell(number, 6).value = "incorrect"
    book.save(tmp_path / "ben.xlsx")
    back = read_table(tmp_path / "ben.xlsx")
    assert [(row.part, row.case.question, row.marks[0]) for row in back] == [
        (kind, case.question, "incorrect") for kind, case in HARD
    ]
    assert back[-2].case.prediction.split() == ["a", "bell", ",", "twice"]
    # The same answers, once in CSV and once in a workbook, are marks of two people.
    write_csv(tmp_path / "to_mark.csv", HARD)
    ann = through_excel(tmp_path / "to_mark.csv", tmp_path / "ann.csv", ",")
    (both,) = read_lists([ann, tmp_path / "ben.xlsx"])
    assert [row.marks for row in both.rows] == [("correct", "incorrect")] * len(HARD)


def test_a_text_that_was_changed_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "to_mark.csv", [("", Case("Which of them?", "May the third", "the grasper"))])
    text = (tmp_path / "to_mark.csv").read_text(encoding="utf-8-sig")
    (tmp_path / "changed.csv").write_text(text.replace("May the third", "03.05.2026"))
    with pytest.raises(DataError, match="changed.csv, row 2: the texts of m[0-9a-f]{11} differ"):
        read_table(tmp_path / "changed.csv")


def test_ids_tell_answers_apart() -> None:
    assert row_id(Case("a b", "c", "d")) == row_id(Case(" a\r\nb", "c", "d "))
    assert len({row_id(Case(*texts)) for texts in ("abc", "acb", ("a", "b", "c d"), ("a b", "", "c"))}) == 4


def test_instructions_are_the_rules_of_the_judge() -> None:
    text = " ".join(instructions(12, "surgvl judge --marks ann.csv").split())
    rule = " ".join(RULE.split())
    assert rule.partition(". ")[2] in text
    assert "the 12 rows" in text
    assert "surgvl judge --marks ann.csv" in text
