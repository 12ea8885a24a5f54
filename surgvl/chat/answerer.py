"""The contract of whatever answers questions about clips: a model in this process, or behind an address.

The same question gets the same answer from Python, the command line, the page and a server, because all of them call
`Answerer.answer`. Nothing here imports torch, which a question to a server does without.
Shapes: B questions, A allowed answers, T frames, S their side in pixels.
"""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import softmax
from surgvl.core.checks import check_question, text_list
from surgvl.metrics.answer_types.base import PLAIN
from surgvl.metrics.outcomes import Problem
from surgvl.models.schema import AnswersFile
from surgvl.video.clip import Preprocess, VideoLike, extract_clip

if TYPE_CHECKING:
    from surgvl.data.frame_store import FrameStore

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


class Answerer(ABC):
    """Answers questions about clips.

    A question without allowed answers (None) is matched with the closed questions that the model was tuned on, ignoring
    case, whitespace and final punctuation. If it is one of them, it is asked in the wording of the training data and
    answered from the model's known answers; otherwise it is answered in free text.

    Attributes:
        preprocess: how the model takes clips.
        known: closed answers and questions that the model was tuned on.
        training: record of the model's training, such as its video ids; empty if there is none.
        device: torch device, or the address of the server.
        mode: how closed questions are answered, `closed` (by likelihood) or `head`; a field of answers.jsonl.
        can_write: whether it can generate free text.
        takes_options: whether each closed question brings its own options, because the model was tuned on none.
        num_at_once: most questions in one call.
        controls: what can be changed about a question to see what the model relies on (`surgvl.chat.controls`).
    """

    preprocess: Preprocess
    known: AnswersFile
    training: dict[str, Any]
    device: str
    mode: ClassVar[str] = "closed"
    can_write: ClassVar[bool] = True
    takes_options: ClassVar[bool] = False
    num_at_once: ClassVar[int] = 64
    controls: ClassVar[tuple[str, ...]] = ("black", "other")

    @property
    def facts(self) -> dict[str, Any]:
        """Further facts for run.json, such as what is sent to a general model with every question."""
        return {}

    def answer(self, questions: Sequence[Question], done: Callable[[int], None] = lambda count: None) -> list[Answer]:
        """Answer B questions; those with equal text and allowed answers share a batch.

        Args:
            questions: B questions.
            done: called with the number of questions that have just been answered.

        Raises:
            ConfigError: free text from a classification head.
            DataError: an invalid question, or a clip that cannot be read.
            ServerError: the server fails.
        """
        decided = [self._decide(question) for question in questions]
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for number, question in enumerate(decided):
            groups.setdefault((question.text, question.answers or ()), []).append(number)
        found: dict[int, Answer] = {}
        for (_, answers), numbers in groups.items():
            group = [decided[number] for number in numbers]
            found |= zip(numbers, self.choose(group) if answers else self.write(group), strict=True)
            done(len(group))
        return [found[number] for number in range(len(questions))]

    def _decide(self, question: Question) -> Question:
        if question.answers is not None:
            return question
        known = match_question(question.text, self.known.questions)
        return replace(question, text=known or question.text, answers=tuple(self.known.answers if known else ()))

    @abstractmethod
    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers to questions of one text and the same allowed answers."""

    @abstractmethod
    def write(self, questions: Sequence[Question]) -> list[Answer]:
        """Free answers to questions of one text."""

    def frames(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.uint8]:
        """One clip as the model takes it, uint8 [T, S, S, 3]; see `surgvl.video.clip.extract_clip`."""
        return extract_clip(source, self.preprocess, at_s)

    @abstractmethod
    def prepare(self, store: "FrameStore", windows: Sequence[Window], folder: Path) -> Container[Window]:
        """Allow questions about windows of a manifest's videos.

        Args:
            store: frames of their videos; prepared. Its `problems` name the videos that turn out to be unreadable.
            windows: that will be asked about.
            folder: where the encoder's features may be stored.

        Returns:
            The windows that can be read.
        """

    # ---- one question

    def ask(
        self, source: VideoLike, question: str, at_s: float | None = None, answers: str | Sequence[str] | None = None
    ) -> str:
        """Answer a question about one clip.

        Args:
            source: a path; or frames uint8 [T, H, W, 3].
            question: in plain language.
            at_s: the moment that is asked about in a file, seconds; the middle of the file by default.
            answers: allowed answers; an empty list for free text. By default, the model chooses from its known answers
                to a closed question that it was tuned on, and answers any other question in free text.

        Raises:
            ConfigError: free text from a classification head.
            DataError: no question or one that is too long, an answer that a head lacks, or a clip that cannot be read.
        """
        return self.answer_one(source, question, at_s, answers).text

    def probabilities(
        self, source: VideoLike, question: str, answers: str | Sequence[str], at_s: float | None = None
    ) -> list[tuple[str, float]]:
        """Allowed answers with their probability, most probable first; the first is what `ask` returns.

        Probabilities are the softmax of each answer's log-likelihood, or of a classification head's scores. There are
        none from a server whose chat template formats answers differently than the training data did.
        """
        return list(self.answer_one(source, question, at_s, answers).probabilities)

    def answer_one(
        self, source: VideoLike, text: str, at_s: float | None = None, answers: str | Sequence[str] | None = None
    ) -> Answer:
        """As `ask`, with all that is known about the answer, such as why there is none."""
        # Check before the video is opened.
        text, allowed = check_question(text), None if answers is None else tuple(text_list(answers, "answers"))
        return self.answer([Question(self.frames(source, at_s), text, allowed)])[0]


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
