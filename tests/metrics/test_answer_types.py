"""Typed answers: what replies declare, by lists made by hand; what is a true answer; what is right."""

import math

import pytest

from surgvl.core.errors import DataError
from surgvl.metrics.answer_types.base import answer_types, is_typed, read_answer, type_of

TOOLS = ("hook", "grasper", "bipolar", "scissors")

NUMBERS = [
    ("3", "3"),
    ("3.", "3"),
    ("Three", "3"),
    ("There are three instruments.", "3"),
    ("1,234", "1234"),
    ("1 234 frames", "1234"),
    ("1,234.5", "1234.5"),
    ("about 5 cm", "5"),
    ("-3", "-3"),
    ("It is −3 degrees", "-3"),
    ("Answer: 3", "3"),
    ("The answer is 3, since two are hidden.", "3"),
    ("At first, the answer is 2. On reflection, the answer is 4.", "4"),
    ("<think>Is it 2? Or 5?</think>4", "4"),
    ('{"answer": 7}', "7"),
    ("I count 2 graspers, so 2.", "2"),
    ("2-3", None),
    ("2 to 3", None),
    ("between 2 and 3", None),
    ("Answer: 2, 3", None),
    ("Answer: 2 or 3", None),
    ("1/2", None),
    ("3 of 4", None),
    ("In frame 3 I see two tools", None),
    ("the 3rd", None),
    ("45%", None),
    ("1:15", None),
    ("several", None),
    ("", None),
]
PERCENTAGES = [
    ("45%", "45"),
    ("45 %", "45"),
    ("about 45 percent", "45"),
    ("45 per cent of the frame", "45"),
    ("45", "45"),
    ("0.5%", "0.5"),
    ("0", "0"),
    ("The answer is 40%, I think.", "40"),
    ("Answer: 10%. No, answer: 20%", "20"),
    ("0.45", None),
    ("40-50%", None),
    ("40% to 50%", None),
    ("120%", None),
    ("1/2", None),
    ("half", None),
]
TIMES = [
    ("1:15", "0:01:15.0"),
    ("0:01:15.5", "0:01:15.5"),
    ("01:02:03", "1:02:03.0"),
    ("75", "0:01:15.0"),
    ("75 s", "0:01:15.0"),
    ("75 seconds", "0:01:15.0"),
    ("1 min 15 s", "0:01:15.0"),
    ("1 minute and 15 seconds", "0:01:15.0"),
    ("1h2m3s", "1:02:03.0"),
    ("2.5 min", "0:02:30.0"),
    ("At 1:15 (75 s) the clip is set", "0:01:15.0"),
    ("The answer is 1:15.", "0:01:15.0"),
    ("Answer: 1:00. Final answer: 2:00", "0:02:00.0"),
    ("1:00 - 1:20", None),
    ("10 to 20 s", None),
    ("between 1:00 and 2:00", None),
    ("1:75", None),
    ("soon", None),
]
BOXES = [
    ("[100, 250, 400, 700]", "100, 250, 400, 700"),
    ("(100,250),(400,700)", "100, 250, 400, 700"),
    ("x1=100, y1=250, x2=400, y2=700", "100, 250, 400, 700"),
    ("<box>100 250 400 700</box>", "100, 250, 400, 700"),
    ('{"bbox_2d": [100, 250, 400, 700]}', "100, 250, 400, 700"),
    ('{"answer": [100, 250, 400, 700.5]}', "100, 250, 400, 700.5"),
    ("The answer is left 100, top 250, right 400, bottom 700.", "100, 250, 400, 700"),
    ("[1, 2, 3, 4] or [5, 6, 7, 8]", None),
    ("[400, 250, 100, 700]", None),
    ("[100, 250, 400, 1700]", None),
    ("[100, 250, 400]", None),
]
SETS = [
    ("A, C", "bipolar, hook"),
    ("A and C", "bipolar, hook"),
    ("(A), (C).", "bipolar, hook"),
    ("A", "hook"),
    ("a grasper", "grasper"),
    ("A grasper and a hook", "grasper, hook"),
    ("Graspers, scissors", "grasper, scissors"),
    ("A. hook\nC. bipolar", "bipolar, hook"),
    ('{"answer": ["A", "D"]}', "hook, scissors"),
    ("A grasper, but no hook", "grasper"),
    ("Answer: A, B. No: the answer is D", "scissors"),
    ("The answer is hook, grasper.", "grasper, hook"),
    ("None", "none"),
    ("None of them.", "none"),
    ("There are no instruments.", "none"),
    ('{"answer": null}', None),
    ("A, F", None),
    ("I see", None),
    ("a tool", None),
]
LISTS = {"number": NUMBERS, "percentage": PERCENTAGES, "time": TIMES, "box": BOXES, "class_set": SETS}


@pytest.mark.parametrize(("name", "reply", "wanted"), [(name, *row) for name, rows in LISTS.items() for row in rows])
def test_a_reply_declares(name: str, reply: str, wanted: str | None) -> None:
    assert answer_types()[name].read(reply, TOOLS if name == "class_set" else ()) == wanted


@pytest.mark.parametrize(
    ("name", "truth", "said", "right"),
    [
        ("choice", "cystic_duct", "Cystic duct.", True),
        ("number", "3", "3.0", True),
        ("number", "3", "4", False),
        ("percentage", "40", "45", True),
        ("percentage", "40", "45.1", False),
        ("time", "1:15", "0:01:20.0", True),
        ("time", "75", "0:01:20.1", False),
        # Half of the area, and a little less.
        ("box", "0,0,100,100", "0, 0, 100, 50", True),
        ("box", "0,0,100,100", "0, 0, 100, 49", False),
        ("class_set", "grasper,hook", "hook, grasper", True),
        ("class_set", "grasper, hook", "hook", False),
        ("class_set", "none", "none", True),
        ("open", "The gallbladder.", "the gallbladder", True),
    ],
)
def test_what_is_right(name: str, truth: str, said: str, right: bool) -> None:
    kind = answer_types()[name]
    kind.verify(truth)
    assert kind.right(truth, said) == right
    assert not kind.right(truth, "")


def test_measures() -> None:
    kinds = answer_types()
    assert kinds["class_set"].measure("grasper, hook", "hook, scissors") == {"f1": 0.5}
    assert kinds["class_set"].measure("none", "none") == {"f1": 1}
    assert kinds["class_set"].measure("none", "") == {"f1": 0}
    assert kinds["box"].measure("0,0,100,100", "50,0,150,100")["iou"] == pytest.approx(1 / 3)
    assert kinds["box"].measure("0,0,100,100", "") == {"iou": 0}
    assert kinds["time"].measure("1:15", "0:01:20.0") == {"error": 5}
    assert kinds["number"].measure("3", "5") == {"error": 2}
    assert math.isnan(kinds["number"].measure("3", "")["error"])


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("number", "three"),
        ("number", "nan"),
        ("percentage", "101"),
        ("percentage", "40%"),
        ("time", "noon"),
        ("box", "1,2,3"),
        ("box", "5,0,5,9"),
        ("class_set", "hook, hook"),
        ("class_set", "hook,,grasper"),
        ("choice", " "),
    ],
)
def test_what_is_no_true_answer(name: str, truth: str) -> None:
    with pytest.raises(DataError, match=f"type {name} must "):
        answer_types()[name].verify(truth)


def test_a_question_says_its_type_by_the_beginning_of_its_group() -> None:
    named = {kind: type_of(kind).name for kind in ("number", "number_tools", "numbers", "count", "open_phase", "")}
    assert named == {
        "number": "number",
        "number_tools": "number",
        "numbers": "choice",
        "count": "choice",
        "open_phase": "open",
        "": "choice",
    }
    assert type_of("describe").name == "open"
    assert [is_typed(kind) for kind in ("class_set_tools", "box", "choice", "describe")] == [True, True, False, False]


def test_why_there_is_no_answer() -> None:
    number, free = answer_types()["number"], answer_types()["open"]
    assert read_answer(number, "three") == ("3", "")
    assert read_answer(number, "some") == ("", "unparsed")
    assert read_answer(number, "I'm sorry, but I can't help with that.") == ("", "refused")
    assert read_answer(number, "<think>3") == ("", "missing")
    assert read_answer(free, "I'm unable to analyse medical images.") == ("", "refused")
    assert read_answer(free, "<think>x</think> A hook.") == ("A hook.", "")
