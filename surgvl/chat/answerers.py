"""Answerers that run in this process: a language model, and a classification head on one.

Shapes: B questions, A allowed answers, V stored tokens of a clip, D encoder width.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from surgvl.chat.answer import candidate_scores, write
from surgvl.chat.answerer import Answerer
from surgvl.chat.confidence import reply_confidence
from surgvl.chat.feature_cache import FeatureCache
from surgvl.chat.head import has_head, head_states, load_head
from surgvl.chat.question import Answer, Question, Window, most_probable
from surgvl.core.errors import ConfigError
from surgvl.data.frame_store import FrameStore
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import LoadedModel
from surgvl.models.model_info import find_model, load_answers, training_record
from surgvl.video.clip import Preprocess

BATCH = 32


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
        found = [each for part in _batches(questions) for each in write(self.model, self._encode(part), part[0].text)]
        return [
            Answer(question, text, confidence=reply_confidence(logprobs, question.kind or "open"))
            for question, (text, logprobs) in zip(questions, found, strict=True)
        ]


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
