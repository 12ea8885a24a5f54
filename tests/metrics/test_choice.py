"""Replies of general models, and which option they declare: a list made by hand."""

import pytest

from surgvl.metrics.answer_types.choice import parse_choice
from surgvl.metrics.answer_types.options import Options, ordered
from surgvl.metrics.answer_types.reply_text import is_refusal

TOOLS = Options(("hook", "grasper", "bipolar", "scissors"))
PRESENCE = Options(("yes", "no"))
COUNTS = Options(("0", "1", "2", "3"))
DUCTS = Options(("cystic_duct", "duct", "cystic artery"))
NINE = Options(tuple(f"phase {word}" for word in ("1", "2", "3", "4", "5", "6", "7", "8", "nine")))


@pytest.mark.parametrize(
    ("options", "reply", "wanted"),
    [
        # The reply is nothing else.
        (TOOLS, "B", "grasper"),
        (TOOLS, "b", "grasper"),
        (TOOLS, " (B). ", "grasper"),
        (TOOLS, "**B**", "grasper"),
        (TOOLS, "Grasper.", "grasper"),
        (TOOLS, "A", "hook"),
        (DUCTS, "cystic duct", "cystic_duct"),
        (DUCTS, "Cystic_duct", "cystic_duct"),
        (NINE, "I", "phase nine"),
        # A letter with its text, or set off.
        (TOOLS, "B. grasper", "grasper"),
        (TOOLS, "B) grasper", "grasper"),
        (TOOLS, "(B) because the jaws are open", "grasper"),
        (TOOLS, "B: the jaws are open", "grasper"),
        (TOOLS, "B. hook", None),
        # Declarations; the last wins.
        (TOOLS, "Answer: B", "grasper"),
        (TOOLS, "answer: b", None),
        (TOOLS, "The answer is (B).", "grasper"),
        (TOOLS, "The correct answer is B, since A is not seen.", "grasper"),
        (TOOLS, "The correct option is: grasper", "grasper"),
        (TOOLS, "Final answer: the grasper.", "grasper"),
        (TOOLS, "The answer is a grasper.", "grasper"),
        (TOOLS, "Answer: A grasper", "grasper"),
        (TOOLS, "Answer: A hook", "hook"),
        (TOOLS, "At first, the answer is A. On reflection, the answer is C.", "bipolar"),
        (TOOLS, "Option A is wrong. Answer: D", "scissors"),
        (TOOLS, "I would choose option C", "bipolar"),
        (TOOLS, '{"answer": "B"}', "grasper"),
        (TOOLS, '```json\n{"answer": "grasper"}\n```', "grasper"),
        (TOOLS, "<think>The answer is A? A hook would be bent.</think>\nB", "grasper"),
        (TOOLS, "<think>The answer is A", None),
        # Articles and pronouns are no letters.
        (TOOLS, "a grasper", "grasper"),
        (TOOLS, "A grasper is seen.", "grasper"),
        (TOOLS, "I see", None),
        (TOOLS, "I see a tool", None),
        (NINE, "I see", None),
        (NINE, "I see the liver", None),
        (TOOLS, "A tool is seen", None),
        (TOOLS, "It must be B", "grasper"),
        (TOOLS, "I think it is B", "grasper"),
        # Mentions.
        (TOOLS, "I see a grasper that holds the gallbladder", "grasper"),
        (TOOLS, "hook and grasper", None),
        (TOOLS, "It is not the hook but the grasper.", "grasper"),
        (TOOLS, "There is no grasper", None),
        (TOOLS, "hooked", None),
        (TOOLS, "Either A or B", None),
        (TOOLS, "E", None),
        (TOOLS, "Answer: E", None),
        (TOOLS, "", None),
        (TOOLS, "7 8 9", None),
        # Texts within texts, yes and no, numbers.
        (DUCTS, "the cystic duct is clipped", "cystic_duct"),
        (DUCTS, "the duct", "duct"),
        (PRESENCE, "No, there is none.", "no"),
        (PRESENCE, "Yes, and there is no bleeding.", "yes"),
        (PRESENCE, "No", "no"),
        (PRESENCE, "yes or no", None),
        (COUNTS, "There are two instruments", "2"),
        (COUNTS, "2", "2"),
        (COUNTS, "C", "2"),
        (COUNTS, "Answer: 3", "3"),
        (COUNTS, "12", None),
    ],
)
def test_a_reply_declares(options: Options, reply: str, wanted: str | None) -> None:
    assert parse_choice(reply, options) == wanted


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m unable to analyse medical images.", True),
        ("As an AI, I do not give medical advice.", True),
        ("I cannot identify people in this picture", True),
        ("I can see a hook", False),
        ("The surgeon cannot see the duct", False),
        ("", False),
    ],
)
def test_a_reply_refuses(reply: str, wanted: bool) -> None:
    assert is_refusal(reply) == wanted


def test_letters_end_at_z_and_then_the_texts_declare() -> None:
    few, many = Options(tuple(f"t{at}" for at in range(26))), Options(tuple(f"t{at}" for at in range(27)))
    assert (few.labels[-1], many.labels[-1]) == ("Z", "t26")
    assert few.lines[-1] == "Z. t25"
    assert parse_choice("the answer is t26", many) == "t26"
    assert parse_choice("B", many) is None


def test_the_order_depends_on_the_seed_and_on_what_is_asked_alone() -> None:
    answers = tuple("abcdefgh")
    first = ordered(answers, True, 0, "Which? at 3 s").answers
    assert sorted(first) == list(answers)
    ordered(answers, True, 0, "another")
    assert ordered(answers, True, 0, "Which? at 3 s").answers == first
    others = {ordered(answers, True, seed, f"Which? at {at} s").answers for seed in range(3) for at in range(3)}
    assert len(others) > 5
    assert ordered(answers, False, 7, "").answers == answers
