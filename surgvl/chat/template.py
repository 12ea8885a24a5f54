"""Conversations as token ids with a label mask, by construction and never by searching tokenised text.

The text comes from the chat template of the model's processor. Every answer is tokenised on its own, so its first and
last tokens are known; labels are the answers and their end tokens.
Shapes: B samples, R rows, L tokens of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import DataError
from surgvl.metrics.answer import to_text
from surgvl.models.processor import SurgVLProcessor

IGNORE = -100
VIDEO = ({"type": "video"},)


def user(question: str, visuals: Sequence[dict[str, Any]] = VIDEO) -> dict[str, Any]:
    """The message that asks a question about visuals."""
    return {"role": "user", "content": [*visuals, {"type": "text", "text": question}]}


def prompt_ids(processor: SurgVLProcessor, question: str) -> list[int]:
    """Token ids of the prompt of one question about a video, with placeholders for its visual tokens.

    Raises:
        DataError: the question contains a placeholder such as `<video>`, which would count as a visual.
    """
    return _ids(processor, processor.render([user(question)]), 1)


def answer_ids(processor: SurgVLProcessor, answer: str) -> list[int]:
    """Token ids of an answer with the end token.

    Raises:
        DataError: the answer is empty.
    """
    ids = processor.encode(to_text(answer))
    if not ids:
        raise DataError(f"answer {answer!r} has no tokens: give a non-empty text")
    return [*ids, int(processor.tokenizer.eos_token_id)]


def end_of_turn(processor: SurgVLProcessor) -> int | None:
    """The token that ends an answer, if the template writes an answered question as `conversation` trains it.

    None if the template inserts anything else between or after them, such as Qwen3's empty thinking block: the model
    was never trained on such text, so the likelihood of an answer with it means nothing.
    """
    asked = user("a?")
    whole = processor.render([asked, {"role": "assistant", "content": "b"}], add_generation_prompt=False)
    taught = [*processor.encode(processor.render([asked])), *answer_ids(processor, "b")]
    return taught[-1] if processor.encode(whole)[: len(taught)] == taught else None


def _ids(processor: SurgVLProcessor, text: str, num_visuals: int) -> list[int]:
    ids = processor.encode(text)
    marks = sum(token in (processor.video_id, processor.image_id) for token in ids)
    if marks != num_visuals:
        raise DataError(
            f"the text {text[:80]!r} has {marks} placeholders for {num_visuals} visuals: "
            "remove <video> and <image> from the question"
        )
    return processor.expand(ids)


def conversation(processor: SurgVLProcessor, turns: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Ids and labels of a conversation about a video, which comes before the first question.

    Args:
        processor: of the model.
        turns: (question, answer), at least one.

    Returns:
        ids and labels of equal length; label i is token i where it is trained on, else IGNORE.

    Raises:
        DataError: an empty answer, a placeholder in a question, or a chat template that rewrites earlier turns.
    """
    ids: list[int] = []
    labels: list[int] = []
    messages: list[dict[str, Any]] = []
    done = ""
    for number, (question, answer) in enumerate(turns):
        messages.append(user(question, VIDEO if number == 0 else ()))
        text = processor.render(messages)
        if not text.startswith(done):
            raise DataError(f"the chat template rewrites earlier turns at {question[:60]!r}: train on single turns")
        prompt = _ids(processor, text[len(done) :], int(number == 0))
        tail = answer_ids(processor, answer)
        ids += prompt + tail
        labels += [IGNORE] * len(prompt) + tail
        if number == len(turns) - 1:
            break
        messages.append({"role": "assistant", "content": to_text(answer)})
        done = processor.render(messages, add_generation_prompt=False)
        end = processor.tokenizer.eos_token
        # Text of a template after the end token belongs to the next turn.
        done = done[: done.rfind(end) + len(end)] if end in done[len(text) :] else done
    return ids, labels


@dataclass(frozen=True)
class Batch:
    """Conversations as tensors.

    Attributes:
        ids: int64 [R, L], padded on the right.
        labels: int64 [R, L], IGNORE where nothing is trained on.
        positions: int64 [R, L], from 0 in each conversation.
        segment_ids: int64 [R, L], index of the conversation within its row, -1 for padding.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    segment_ids: Tensor

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Additive attention mask [R, 1, L, L]: each token attends to the earlier ones of its own conversation."""
        L = self.ids.shape[1]
        same = self.segment_ids[:, :, None] == self.segment_ids[:, None, :]
        allowed = same & torch.ones(L, L, dtype=torch.bool, device=same.device).tril()
        return torch.zeros(allowed.shape, dtype=dtype, device=same.device).masked_fill_(
            ~allowed, torch.finfo(dtype).min
        )[:, None]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(*(part.to(device) for part in (self.ids, self.labels, self.positions, self.segment_ids)))


def training_batch(
    processor: SurgVLProcessor,
    questions: Sequence[str],
    answers: Sequence[str],
    max_tokens: int = 256,
    pack: bool = False,
    earlier: Sequence[Sequence[tuple[str, str]]] | None = None,
) -> tuple[Batch, list[int]]:
    """Questions about one video each, with their answers.

    Args:
        processor: of the model.
        questions: B questions.
        answers: B answers.
        max_tokens: longest row, visual tokens included.
        pack: put several short conversations into one row (first-fit decreasing).
        earlier: (question, answer) pairs of the turns before each question.

    Returns:
        The rows, and the order of the conversations, and so of their visuals, in them.

    Raises:
        DataError: a conversation is longer than `max_tokens`; nothing is truncated silently.
    """
    before = [()] * len(questions) if earlier is None else earlier
    turns = zip(before, questions, answers, strict=True)
    pairs = [conversation(processor, [*said, (question, answer)]) for said, question, answer in turns]
    for question, (ids, _) in zip(questions, pairs, strict=True):
        if len(ids) > max_tokens:
            raise DataError(
                f"question {question[:60]!r} with its answer has {len(ids)} tokens, more than "
                f"{max_tokens}: raise --max_tokens or shorten it"
            )
    lengths = [len(ids) for ids, _ in pairs]
    rows = pack_first_fit(lengths, max_tokens) if pack else [[number] for number in range(len(pairs))]
    longest = max(sum(lengths[number] for number in row) for row in rows)
    shape = (len(rows), longest)
    pad = processor.tokenizer.pad_token_id
    filled = torch.full(shape, processor.tokenizer.eos_token_id if pad is None else pad)
    labels, segment_ids = torch.full(shape, IGNORE), torch.full(shape, -1)
    positions = torch.zeros(shape, dtype=torch.long)
    for at, row in enumerate(rows):
        begin = 0
        for place, number in enumerate(row):
            end = begin + lengths[number]
            filled[at, begin:end], labels[at, begin:end] = (torch.tensor(part) for part in pairs[number])
            positions[at, begin:end], segment_ids[at, begin:end] = torch.arange(lengths[number]), place
            begin = end
    return Batch(filled, labels, positions, segment_ids), [number for row in rows for number in row]


def pack_first_fit(lengths: Sequence[int], most: int) -> list[list[int]]:
    """First-fit decreasing bin packing: indices of the conversations in each row of at most `most` tokens."""
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        at = next((row for row, left in enumerate(free) if left >= lengths[number]), len(rows))
        if at == len(rows):
            rows.append([])
            free.append(most)
        rows[at].append(number)
        free[at] -= lengths[number]
    return rows
