"""A question about a clip, its answer, and how a question that a model was tuned on is recognised.

Nothing here imports torch, which a client of a server does not need. Shapes: T frames, S side in pixels, A answers.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import softmax
from surgvl.metrics.answer_types.base import PLAIN
from surgvl.metrics.outcomes import Problem

DESCRIBE = "What is happening in this clip?"
"""The open question that narrated sentences answer in training."""


class Window(NamedTuple):
    """A span of a manifest's video; the clip that stands for it is centred on it and shifted into the video."""

    video_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Question:
    """A question about one clip.

    Attributes:
        clip: frames uint8 [T, S, S, 3] as the model takes them (`Answerer.frames` cuts them), or a window of a prepared
            video (`Answerer.prepare`).
        text: the question in plain language.
        answers: allowed answers. Empty: the answer is free text. None: the answerer decides, see `Answerer`.
        kind: type of the answer (`surgvl.metrics.answer_types`), which tells a general model how to answer; empty: a
            choice if there are allowed answers, else free text.
        wording: how a general model is asked.
        order: of the options as a general model is shown them: 1 is the usual one, others are drawn.
    """

    clip: NDArray[np.uint8] | Window
    text: str
    answers: tuple[str, ...] | None = None
    kind: str = ""
    wording: str = PLAIN
    order: int = 1


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer to a question.

    Attributes:
        question: as the model received it: in the wording of the training data, with its allowed answers.
        text: the answer; for a closed question one of the allowed answers, letter for letter.
        probabilities: allowed answers with their probability, most probable first; empty if the answer is free text or
            was chosen by a server token by token.
        confidence: how sure the answerer says that it is, 0 ... 1; None where it does not say. Of a closed question the
            probability of `text` among the allowed answers; else see `surgvl.chat.confidence`.
        problem: why there is no answer (`surgvl.metrics.outcomes`), and `text` is empty; empty if there is one.
        raw: what a general model wrote, of which `text` is what it declares.
        reply: key of the stored reply of a general model (`surgvl.chat.replies`).
        shown: the options in the order in which a general model was shown them, if `text` was read from what it wrote.
        seconds: from the question to the reply of a general model; None where it is not known.
    """

    question: Question
    text: str
    probabilities: tuple[tuple[str, float], ...] = ()
    confidence: float | None = None
    problem: Problem = ""
    raw: str = ""
    reply: str = ""
    shown: tuple[str, ...] | None = None
    seconds: float | None = None


def most_probable(question: Question, scores: NDArray[np.floating]) -> Answer:
    """The allowed answer with the highest score [A]; of equal ones the first. Probabilities are their softmax."""
    assert question.answers
    probabilities = softmax(scores)
    ranked = [(question.answers[at], float(probabilities[at])) for at in np.argsort(-scores, kind="stable")]
    return Answer(question, ranked[0][0], tuple(ranked), ranked[0][1])


def question_key(text: str) -> str:
    """A question without case, character width, repeated whitespace and final punctuation."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    while text and (text[-1] == " " or unicodedata.category(text[-1]).startswith("P")):
        text = text[:-1]
    return text


def match_question(text: str, known: Iterable[str]) -> str | None:
    """The known question that a text asks, in the wording of the training data; None if there is no such question.

    Args:
        text: as a person typed it.
        known: questions; an exact match takes precedence over one after `question_key`.
    """
    known = list(known)
    if text in known:
        return text
    wanted = question_key(text)
    return next((each for each in known if question_key(each) == wanted), None) if wanted else None
