"""Answerers that run in this process: a language model, and a classification head on one.

A language model answers closed questions by the likelihood of each candidate and others by greedy decoding. A closed
question is one sequence: clip, question, then all candidates as a prefix tree of their tokens (tree attention, arXiv
2305.09781). Each token attends to the clip, the question and its ancestors, at the position it would have alone.
Shared prefixes are computed once, and the score of a candidate is log p(candidate, end | clip, question), independent
of the other candidates.
Shapes: B questions, A allowed answers or candidates, V stored tokens of a clip, D encoder width.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessorList

from surgvl.chat.answerer import Answer, Answerer, Question, Window, most_probable
from surgvl.chat.chosen_tokens import ChosenTokens
from surgvl.chat.confidence import reply_confidence
from surgvl.chat.feature_cache import FeatureCache
from surgvl.chat.head import has_head, head_states, load_head
from surgvl.chat.template import answer_ids, prompt_ids
from surgvl.core.errors import ConfigError, DataError
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


# ---- what a language model answers


@torch.no_grad()
def candidate_scores(chat: Chat, pooled: Tensor, question: str, candidates: Sequence[str]) -> Tensor:
    """Log-likelihood of each candidate answer to one question about B clips.

    Args:
        chat: the model.
        pooled: from `chat.encode_visual`, [B, V, D].
        question: asked of every clip.
        candidates: A different answers.

    Returns:
        float32 [B, A], natural logarithms summed over the candidate's tokens and the end token.

    Raises:
        DataError: no candidates, or two of them are equal.
    """
    if not candidates or len(set(candidates)) != len(candidates):
        distinct = len(set(candidates))
        raise DataError(f"answers to choose from must be distinct, got {len(candidates)}, of which {distinct} distinct")
    processor, device = chat.ready, pooled.device
    prompt = prompt_ids(processor, question)
    # The last token of a candidate predicts nothing that is scored, so it is not an input. Nodes of the tree are the
    # prefixes of all candidates, each once.
    tails = [answer_ids(processor, candidate) for candidate in candidates]
    nodes: dict[tuple[int, ...], int] = {}
    for tail in tails:
        for end in range(1, len(tail)):
            nodes.setdefault(tuple(tail[:end]), len(nodes))
    prefix, length = len(prompt), len(prompt) + len(nodes)
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    allowed[prefix:, prefix:] = torch.eye(len(nodes), dtype=torch.bool)
    for path, node in nodes.items():
        if len(path) > 1:
            allowed[prefix + node, prefix:] |= allowed[prefix + nodes[path[:-1]], prefix:]
    body = [path[-1] for path in nodes]
    place = torch.tensor([prefix + len(path) - 1 for path in nodes], dtype=torch.long)

    B = pooled.shape[0]
    ids = torch.tensor(prompt + body, device=device).expand(B, -1)
    embeddings = chat.embed(ids, pooled)
    mask = torch.zeros(length, length, dtype=embeddings.dtype)
    mask.masked_fill_(~allowed, torch.finfo(embeddings.dtype).min)
    positions = torch.cat([torch.arange(prefix), place]).to(device)
    out = chat.language(
        inputs_embeds=embeddings,
        attention_mask=mask[None, None].expand(B, 1, -1, -1).to(device),
        position_ids=positions.expand(B, -1),
        use_cache=False,
    )
    # Row prefix-1 predicts each candidate's first token, and each node's row the token after it.
    logp = out.logits[:, prefix - 1 :].float().log_softmax(-1)
    source, target, candidate = [], [], []
    for number, tail in enumerate(tails):
        source += [0, *(1 + nodes[tuple(tail[:end])] for end in range(1, len(tail)))]
        target += tail
        candidate += [number] * len(tail)
    picked = logp[:, torch.tensor(source, device=device), torch.tensor(target, device=device)]
    scores = torch.zeros(B, len(tails), device=device)
    return scores.index_add_(1, torch.tensor(candidate, device=device), picked)


class Written(NamedTuple):
    """A free answer: its text, and the log-probabilities of its tokens, the end token included."""

    text: str
    logprobs: list[float]


def write(chat: Chat, pooled: Tensor, question: str | Sequence[str], max_new_tokens: int = 32) -> list[Written]:
    """Greedy free answers to one question about B clips, or to B questions, one about each clip."""
    asked = [question] * len(pooled) if isinstance(question, str) else question
    prompts = {text: prompt_ids(chat.ready, text) for text in asked}
    longest = max(map(len, prompts.values()))
    # Padded on the left, where no token attends to it and positions are not counted, so all answers begin together.
    ids = torch.full((len(asked), longest), chat.ready.tokenizer.eos_token_id)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(asked):
        first = longest - len(prompts[text])
        ids[row, first:], mask[row, first:] = torch.tensor(prompts[text]), 1
    chosen = ChosenTokens()
    out = chat.generate(
        ids.to(pooled.device),
        pooled=pooled,
        attention_mask=mask.to(pooled.device),
        max_new_tokens=max_new_tokens,
        logits_processor=LogitsProcessorList([chosen]),
    )
    end = chat.language.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    found = []
    for row, values in zip(out.tolist(), chosen.logprobs(out).tolist(), strict=True):
        # What follows the first end token fills the batch.
        length = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
        found.append(Written(chat.tokenizer.decode(row).strip(), values[:length]))
    return found


def generate(chat: Chat, pooled: Tensor, question: str | Sequence[str], max_new_tokens: int = 32) -> list[str]:
    """The texts of `write`."""
    return [each.text for each in write(chat, pooled, question, max_new_tokens)]
