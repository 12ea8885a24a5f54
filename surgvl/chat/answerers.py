"""Answerers of questions about clips: the contract, and the two that run in this process.

A server is the third (`surgvl.serve.remote.ServerAnswerer`). The same question gets the same answer from Python, the
command line, the page and a server, because all of them call `Answerer.answer`.
Shapes: B questions, A allowed answers, V stored tokens of a clip, D encoder width, T frames, S their side in pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgvl.chat.answer import candidate_scores, generate
from surgvl.chat.feature_cache import FeatureCache
from surgvl.chat.head import has_head, head_states, load_head
from surgvl.chat.question import Answer, Question, Window, match_question, most_probable
from surgvl.core.checks import check_question, text_list
from surgvl.core.errors import ConfigError
from surgvl.data.frame_store import FrameStore
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import LoadedModel, VideoLike
from surgvl.models.model_info import find_model, load_answers, training_record
from surgvl.models.schema import AnswersFile
from surgvl.video.clip import Preprocess

BATCH = 32


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

    @abstractmethod
    def frames(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.uint8]:
        """One clip as the model takes it, uint8 [T, S, S, 3]; see `surgvl.models.checkpoint.LoadedModel.frames`."""

    @abstractmethod
    def prepare(self, store: FrameStore, windows: Sequence[Window], folder: Path) -> Container[Window]:
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

    def known_answers(self) -> list[str]:
        """The closed answer set the model was tuned on; empty if it has none."""
        return list(self.known.answers)

    def known_questions(self) -> dict[str, str]:
        """Closed questions the model was tuned on, with their types."""
        return dict(self.known.questions)


class LocalAnswerer(LoadedModel, Answerer):
    """A chat model in this process.

    Args:
        model: in evaluation mode.
        preprocess: how clips are cut.
        folder: folder that it was loaded from.
        device: torch device.
    """

    model: Chat

    def __init__(self, model: Chat, preprocess: Preprocess, folder: Path, device: str = "cpu"):
        super().__init__(model, preprocess, folder, device)
        self.known = load_answers(folder)
        self.training = training_record(find_model(folder))
        self._features: FeatureCache | None = None

    def prepare(self, store: FrameStore, windows: Sequence[Window], folder: Path) -> FeatureCache:
        """Encode the windows, or find their features in the folder."""
        self._features = FeatureCache(self.model, store, windows, folder)
        store.problems |= self._features.problems
        return self._features

    @torch.inference_mode()
    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """The allowed answer with the highest score."""
        scores = [self.scores(self._encode(part), part[0]).cpu().numpy() for part in _batches(questions)]
        return [most_probable(*pair) for pair in zip(questions, np.concatenate(scores), strict=True)]

    @abstractmethod
    def scores(self, pooled: Tensor, question: Question) -> Tensor:
        """Scores float32 [B, A] of a question's allowed answers about B encoded clips [B, V, D]."""

    def _encode(self, questions: Sequence[Question]) -> Tensor:
        """Pooled tokens [B, V, D] of the questions' clips, on the model's device."""
        clips = [question.clip for question in questions if not isinstance(question.clip, Window)]
        encoded = iter(self.model.encode_visual(self.batch(clips)) if clips else ())
        stored = self._features
        return torch.stack(
            [
                stored[question.clip].to(self.device) if stored and isinstance(question.clip, Window) else next(encoded)
                for question in questions
            ]
        )


class LanguageAnswerer(LocalAnswerer):
    """A language model: closed answers by their likelihood, free ones by greedy decoding."""

    def scores(self, pooled: Tensor, question: Question) -> Tensor:
        """Log-likelihoods of the allowed answers."""
        return candidate_scores(self.model, pooled, question.text, question.answers or ())

    @torch.inference_mode()
    def write(self, questions: Sequence[Question]) -> list[Answer]:
        """Greedy text."""
        texts = [
            text for part in _batches(questions) for text in generate(self.model, self._encode(part), part[0].text)
        ]
        return [Answer(*pair) for pair in zip(questions, texts, strict=True)]


class HeadAnswerer(LocalAnswerer):
    """A classification head on a chat model (`surgvl tune --finetune head`); it answers closed questions only."""

    mode: ClassVar[str] = "head"
    can_write: ClassVar[bool] = False

    def __init__(self, model: Chat, preprocess: Preprocess, folder: Path, device: str = "cpu"):
        super().__init__(model, preprocess, folder, device)
        self.head = load_head(model, find_model(folder), device)

    def scores(self, pooled: Tensor, question: Question) -> Tensor:
        """The head's scores of the allowed answers.

        Raises:
            DataError: an answer that the head does not have.
        """
        columns = self.head.numbers(question.answers or ()).to(pooled.device)
        scores: Tensor = self.head(head_states(self.model, pooled, [question.text] * len(pooled)))
        return scores[:, columns]

    def write(self, questions: Sequence[Question]) -> list[Answer]:
        """A classification head cannot generate text.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{questions[0].text!r} needs a free-text answer, and a classification head cannot generate text: ask one "
            f"of {', '.join(map(repr, self.known.questions))}, or give answers to choose from"
        )


def local_answerer(model: Chat, preprocess: Preprocess, folder: Path, device: str = "cpu") -> LocalAnswerer:
    """An answerer for a loaded chat model; it uses the classification head if the folder has one."""
    kind = HeadAnswerer if has_head(find_model(folder)) else LanguageAnswerer
    return kind(model, preprocess, folder, device)


def _batches(questions: Sequence[Question]) -> list[Sequence[Question]]:
    return [questions[at : at + BATCH] for at in range(0, len(questions), BATCH)]
