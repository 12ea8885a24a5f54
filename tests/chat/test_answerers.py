"""Answerers: known questions are recognised however they are typed, by a language model, a head and a server alike."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import surgvl
from surgvl.chat.answerer import Question, match_question
from surgvl.chat.answerers import BATCH, HeadAnswerer, LanguageAnswerer, LocalAnswerer, write
from surgvl.chat.head import head_states, load_head, save_head
from surgvl.core.errors import ConfigError, DataError
from surgvl.serve.client import Server
from surgvl.serve.remote import ServerAnswerer
from tests.chat.test_head import taught_head
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.made_organs import COLOURS, ORGANS, QUESTION, save_run
from tests.models.test_chat_model import small_chat
from tests.serve.test_client import PREPROCESS, gate, made_frames, running, url  # noqa: F401 (fixtures)

SPELT = [
    QUESTION,
    "which organ is this?",
    "WHICH ORGAN IS THIS",
    "  Which  organ\tis this ?  ",
    "Which organ is this??!",
    "Which organ is this.",
    "Which\u00a0organ is this\uff1f",
]


@pytest.mark.parametrize("text", SPELT)
def test_spelling_does_not_count(text: str) -> None:
    assert match_question(text, ["How many?", QUESTION]) == QUESTION


@pytest.mark.parametrize("text", ["", "?", "Which organs are this?", "Which organ is this? And why?", "organ"])
def test_other_questions_are_other_questions(text: str) -> None:
    assert match_question(text, ["How many?", QUESTION]) is None


def test_of_two_that_are_nearly_alike_the_one_as_spelt() -> None:
    known = ["Is it shut?", "Is it shut"]
    assert [match_question(text, known) for text in known] == known


@pytest.mark.parametrize("text", SPELT)
def test_a_server_is_asked_the_question_that_was_learnt(text: str, gate: FakeGateway, url: str) -> None:  # noqa: F811
    # Without end_id the server chooses.
    gate.about = {
        "version": "1",
        "chat": {"preprocess": PREPROCESS, "hash": "h", "answers": ["gut", "liver"], "questions": {QUESTION: "organ"}},
    }
    asked: list[tuple[str, bool]] = []

    def answer(frames: object, question: str, choices: list[str] | None) -> str:
        asked.append((question, choices is not None))
        return choices[0] if choices else "free"

    gate.answer = answer
    assert ServerAnswerer(Server(url)).ask(made_frames(), text) in ORGANS.values()
    assert asked == [(QUESTION, True)]


def clip(colour: str) -> torch.Tensor:
    return torch.tensor(COLOURS[colour], dtype=torch.uint8).expand(4, 16, 16, 3)


def loaded(run: Path) -> LocalAnswerer:
    found = surgvl.load(run)
    assert isinstance(found, LocalAnswerer)
    return found


@pytest.mark.slow
def test_any_spelling_gets_the_same_known_answer(taught_run: Path) -> None:
    chat = loaded(taught_run)
    assert isinstance(chat, LanguageAnswerer)
    for colour, organ in ORGANS.items():
        assert {chat.ask(clip(colour), text) for text in SPELT} == {organ}


@pytest.mark.slow
def test_many_questions_are_answered_like_each_of_them_alone_and_in_their_order(taught_run: Path) -> None:
    """Texts, allowed answers and clips mixed, and more of one kind than a batch holds."""
    chat = loaded(taught_run)
    clips = {colour: chat.frames(clip(colour)) for colour in COLOURS}
    texts = [(QUESTION, None), ("Why?", ()), (QUESTION, ("liver", "gut")), ("which ORGAN is this", None)]
    questions = [Question(each, *text) for text in texts for each in clips.values()]
    questions += [Question(clips[("red", "blue")[at % 2]], QUESTION) for at in range(BATCH + 3)]
    found = chat.answer(questions)
    alone = [chat.answer([question])[0] for question in questions]
    assert [each.text for each in found] == [each.text for each in alone]
    assert [each.question.text for each in found[6:]] == [QUESTION] * (BATCH + 5)
    for many, one in zip(found, alone, strict=True):
        assert dict(many.probabilities) == pytest.approx(dict(one.probabilities), abs=1e-5)
        assert [name for name, _ in many.probabilities[:1]] == ([many.text] if many.question.answers else [])
        assert sum(share for _, share in many.probabilities) == pytest.approx(1 if many.question.answers else 0)
        assert many.confidence == pytest.approx(one.confidence, abs=1e-5)
        if many.question.answers:
            assert many.confidence == dict(many.probabilities)[many.text]
        else:
            assert isinstance(many.question.clip, np.ndarray)
            free = write(chat.model, chat.model.encode_visual(chat.clip(many.question.clip)), many.question.text)
            shares = [math.exp(each) for each in free[0].logprobs]
            assert many.confidence == pytest.approx(math.prod(shares) ** (1 / len(shares)), abs=1e-5)
    assert [each.text for each in found[-3:]] == ["gut", "liver", "gut"]


@pytest.mark.slow
def test_a_single_question_is_answered_by_the_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trunk = small_chat()
    head = taught_head(trunk)
    # The trunk alone cannot write the answers, and a head of swapped answers shows who answers.
    head.answers = head.answers[::-1]
    run = save_run(trunk, tmp_path / "run")
    save_head(head, run / "model")
    swapped = dict(zip(ORGANS, list(ORGANS.values())[::-1], strict=True))
    chat = loaded(run)
    assert isinstance(chat, HeadAnswerer)
    for colour, organ in swapped.items():
        assert {chat.ask(clip(colour), text) for text in SPELT} == {organ}
        shares = chat.probabilities(clip(colour), QUESTION, ["gut", "liver"])
        with torch.no_grad():
            scores = load_head(trunk, run / "model")(
                head_states(trunk, trunk.encode_visual(chat.clip(clip(colour))), [QUESTION])
            )[0]
        wanted = dict(zip(head.answers, scores.softmax(0).tolist(), strict=True))
        assert dict(shares) == pytest.approx(wanted, abs=1e-5)
        assert shares[0][0] == organ
        assert chat.answer_one(clip(colour), QUESTION).confidence == pytest.approx(max(wanted.values()), abs=1e-5)
        assert chat.ask(clip(colour), "How come?", answers=["liver", "gut"]) in ORGANS.values()
    with pytest.raises(DataError, match="answer 'spleen' is not one of the 2 that the head was tuned on"):
        chat.ask(clip("red"), QUESTION, answers=["spleen"])
    with pytest.raises(
        ConfigError, match="'Why\\?' needs a free-text answer, and a classification head cannot generate text: ask"
    ):
        chat.ask(clip("red"), "Why?")
