"""Lists of answers that people have marked: own tables, several people on one list, and the published layout of EVOUNA.

What is read is compared with rows that the tests write by hand; the published files, where they are at hand, with their
hash and with counts that this file makes on its own.
"""

import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from surgvl.core.errors import DataError
from surgvl.tasks.judge import Case
from surgvl.tasks.marked_lists import drawn, published, read_lists, read_table
from surgvl.tasks.marks.base import Marked
from surgvl.tasks.marks.evouna import Evouna

REAL = Path(os.environ.get("SURGVL_REAL_DATA") or ".") / "marks" / "EVOUNA"
SYSTEMS = ("fid", "gpt35", "chatgpt", "gpt4", "newbing")


def table(path: Path, *rows: str, head: str = "question,answer,prediction,mark") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_tables_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 3: mark must be correct or incorrect, got 'right'"):
        read_table(table(tmp_path / "a.csv", "q,a,p,correct", "q,a,p,right"))
    with pytest.raises(DataError, match="row 2: the question or the reference answer is empty"):
        read_table(table(tmp_path / "c.csv", "q,,p,correct"))
    with pytest.raises(DataError, match="a header with question,answer,prediction,mark"):
        read_table(table(tmp_path / "b.csv", "q,a,p", head="question,answer,prediction"))
    with pytest.raises(DataError, match="row 2: 5 cells for 4 columns: quote the texts"):
        read_table(table(tmp_path / "d.csv", "q,a,p,correct,perhaps"))
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no list 'evuona'; known are .*evouna.*: did you mean evouna?"):
        read_lists([Path("evuona:folder")])
    with pytest.raises(DataError, match="e.csv has no mark"):
        read_lists([table(tmp_path / "e.csv", "q,a,p,")])


def test_a_table_as_countries_save_it(tmp_path: Path) -> None:
    expected = [Marked(Case("What, then?", "a", "p"), ("correct",)), Marked(Case("q", "a", "x;y"), ("",))]
    for delimiter in ",;\t":
        rows = ['"What, then?",a,p,Correct ', 'q,a,"x;y",']
        path = tmp_path / f"{ord(delimiter)}.csv"
        text = "\ufeffquestion,answer,prediction,mark\n" + "\n".join(rows)
        if delimiter != ",":
            text = text.replace(",", delimiter).replace(f"What{delimiter}", "What,")
        path.write_text(text, encoding="utf-8")
        assert read_table(path) == expected


def test_tables_of_the_same_answers_are_marks_of_several_people(tmp_path: Path) -> None:
    """Ben sorted the rows and left one unmarked; the third table has other answers."""
    ann = table(tmp_path / "ann.csv", "q,a,one,correct", "q,a,two,incorrect", "r,b,three,correct")
    ben = table(tmp_path / "ben.csv", "r,b,three,correct", "q,a,two,", "q,a,one,incorrect")
    own = table(tmp_path / "own.csv", "s,c,four,correct", "s,c,four,incorrect")
    both, alone = read_lists([ann, own, ben])
    assert {row.case.prediction: row.marks for row in both.rows} == {
        "one": ("correct", "incorrect"),
        "two": ("incorrect", ""),
        "three": ("correct", "correct"),
    }
    assert (both.name, both.people, both.left_out) == ("ann.csv and ben.csv", "2 people", {"not marked": 1})
    assert (alone.name, alone.people, len(alone.rows)) == ("own.csv", "a person", 2)
    twice = table(tmp_path / "twice.csv", "s,c,four,correct")
    with pytest.raises(DataError, match="own.csv has 'four' 2 times: leave one row of them"):
        read_lists([own, twice])


def test_a_table_that_shares_answers_with_two_others_makes_one_list_of_all(tmp_path: Path) -> None:
    """Ann and Ben marked a half each, and Eva both."""
    ann, ben = table(tmp_path / "ann.csv", "q,a,one,correct"), table(tmp_path / "ben.csv", "q,a,two,incorrect")
    eva = table(tmp_path / "eva.csv", "q,a,one,correct", "q,a,two,correct")
    for order in itertools.permutations((ann, ben, eva)):
        (found,) = read_lists(order)
        names = found.name.split(" and ")
        assert sorted(names) == ["ann.csv", "ben.csv", "eva.csv"]
        marks = {row.case.prediction: dict(zip(names, row.marks, strict=True)) for row in found.rows}
        assert marks == {
            "one": {"ann.csv": "correct", "ben.csv": "", "eva.csv": "correct"},
            "two": {"ann.csv": "", "ben.csv": "incorrect", "eva.csv": "correct"},
        }


def test_a_sample_is_fixed_and_has_marks(tmp_path: Path) -> None:
    rows = [f"q,a,{at},{'' if at % 3 == 0 else 'correct'}" for at in range(30)]
    (whole,) = read_lists([table(tmp_path / "a.csv", *rows)])
    some = drawn(whole, 7, seed=1)
    assert some == drawn(whole, 7, seed=1)
    assert some != drawn(whole, 7, seed=2)
    numbers = [int(row.case.prediction) for row in some.rows]
    assert len(set(numbers)) == 7
    assert numbers == sorted(numbers)
    assert all(at % 3 for at in numbers)
    assert drawn(whole, 0, seed=1) == drawn(whole, 99, seed=1) == whole


def entry(question: str, marks: list[bool | None], **more: Any) -> dict[str, Any]:
    """A question in EVOUNA's layout; answers are `fid on QUESTION`, and so on."""
    row: dict[str, Any] = {"question": question, "golden_answer": f"truth of {question}"}
    for name, mark in zip(SYSTEMS, marks, strict=True):
        row |= {f"answer_{name}": f"{name} on {question}", f"judge_{name}": mark}
    return row | {"improper": False} | more


def evouna(folder: Path) -> Path:
    """Three questions, one of them unsuitable, and a file with one; of two systems an answer or a mark is missing."""
    folder.mkdir()
    rows = [
        entry("first", [True, False, True, True, None]),
        entry("second", [None] * 5, improper=True),
        entry("third", [False, False, True, True, False], answer_newbing=None),
    ]
    (folder / "NQ.json").write_text(json.dumps(rows))
    (folder / "TQ.json").write_text(json.dumps([entry("fourth", [True] * 5)]))
    return folder


def test_evouna_in_its_published_layout(tmp_path: Path) -> None:
    folder = evouna(tmp_path / "EVOUNA")
    (found,) = read_lists([Path(f"evouna:{tmp_path}")])
    assert found == Evouna().read(folder)
    assert found.people == "people"
    assert found.domain == "general-domain questions, not surgery"
    assert found.left_out == {
        "no mark": 1,
        "question set aside by the authors": 5,
        "no answer or no reference": 1,
    }
    marks = {(row.case, row.part): row.marks for row in found.rows}
    assert len(found.rows) == len(marks) == 13
    assert marks[Case("first", "truth of first", "gpt35 on first"), "NQ"] == ("incorrect",)
    assert marks[Case("fourth", "truth of fourth", "newbing on fourth"), "TQ"] == ("correct",)
    assert Counter(row.marks[0] for row in found.rows) == {"correct": 10, "incorrect": 3}
    # The files are not those of 2023, which is said with every score.
    assert found.name == "EVOUNA (another version of NQ.json and TQ.json than that of 2023)"
    (one,) = read_lists([Path(f"evouna:{folder / 'TQ.json'}")])
    assert (one.name, len(one.rows)) == ("EVOUNA, TQ only (another version of TQ.json than that of 2023)", 5)


def test_evouna_in_another_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither NQ.json nor TQ.json: give the folder EVOUNA of github.com"):
        read_lists([Path(f"evouna:{tmp_path}")])
    path = tmp_path / "NQ.json"
    for rows, complaint in (
        ([], "must hold a list of questions"),
        ([{"question": "q"}], "entry 1 lacks question or golden_answer"),
        ([entry("q", [True] * 5, judge_gpt4="yes")], "entry 1: .* judge_gpt4 true or false, got 'yes'"),
    ):
        path.write_text(json.dumps(rows))
        with pytest.raises(DataError, match=complaint):
            read_lists([Path(f"evouna:{path}")])


@pytest.mark.parametrize("kind", published().values(), ids=published().keys())
def test_every_published_list_says_where_it_is_from(kind: type[Evouna]) -> None:
    assert all((kind.title, kind.LICENCE, kind.LICENCE_FROM, kind.SOURCE, kind.DOMAIN))
    assert kind.SHA256.keys() == kind.NUM_MARKS.keys()
    assert all(len(digest) == 64 for digest in kind.SHA256.values())


@pytest.mark.skipif(not REAL.is_dir(), reason="SURGVL_REAL_DATA has no marks/EVOUNA: the published files are not here")
def test_the_published_files_of_evouna() -> None:
    found = Evouna().read(REAL)
    assert found.name == "EVOUNA"
    expected: Counter[str] = Counter()
    for name in Evouna.SHA256:
        for row in json.loads((REAL / name).read_text(encoding="utf-8")):
            if not row["improper"] and row["golden_answer"]:
                marks = [row[f"judge_{each}"] for each in SYSTEMS if row[f"answer_{each}"]]
                expected[name] += sum(mark is not None for mark in marks)
    assert expected == Evouna.NUM_MARKS
    assert Counter(f"{row.part}.json" for row in found.rows) == expected
    # Of the README: 3,610 and 2,000 questions, each with five answers.
    assert len(found.rows) + sum(found.left_out.values()) == (3610 + 2000) * 5
