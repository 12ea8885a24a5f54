"""Conversations as token ids with a label mask, by construction and never by searching tokenised text.

The text comes from the chat template of the model's processor. Every answer is tokenised by itself, so its first and
its last token are known; labels are the answers and the end tokens behind them.
Shapes: B samples, R rows, L tokens of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import DataError
from surgvl.models.processor import SurgVLProcessor

IGNORE = -100
VIDEO = ({"type": "video"},)


def words(answer: str) -> str:
    """An answer as words: PitVQA and its kin join them by underscores."""
    return answer.replace("_", " ").strip()


def user(question: str, visuals: Sequence[dict[str, Any]] = VIDEO) -> dict[str, Any]:
    """The message that asks a question about visuals."""
    return {"role": "user", "content": [*visuals, {"type": "text", "text": question}]}


def prompt_ids(processor: SurgVLProcessor, question: str, visuals: Sequence[dict[str, Any]] = VIDEO) -> list[int]:
    """Token ids of the text up to the answer to one question, with places for its visuals.

    Raises:
        DataError: the question holds a mark such as `<video>`, which would be taken for a visual.
    """
    return _ids(processor, processor.render([user(question, visuals)]), len(visuals))


def answer_ids(processor: SurgVLProcessor, answer: str) -> list[int]:
    """Token ids of an answer with the end token.

    Raises:
        DataError: the answer is empty.
    """
    ids = processor.encode(words(answer))
    if not ids:
        raise DataError(f"answer {answer!r} has no tokens: give a text")
    return [*ids, int(processor.tokenizer.eos_token_id)]


def end_of_turn(processor: SurgVLProcessor) -> int | None:
    """The token that ends an answer, where the template writes an answered question as `conversation` teaches it.

    None where it writes something else between or behind them, such as the empty thoughts of Qwen3: such text was never
    taught, and says nothing about how likely an answer is.
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
            f"the text {text[:80]!r} has {marks} marks for {num_visuals} visuals: "
            "a question cannot hold <video> or <image>"
        )
    return processor.expand(ids)


def conversation(
    processor: SurgVLProcessor, turns: Sequence[tuple[str, str]], visuals: Sequence[dict[str, Any]] = VIDEO
) -> tuple[list[int], list[int]]:
    """Ids and labels of questions and answers that follow one another; visuals stand before the first question.

    Args:
        processor: of the model.
        turns: (question, answer), at least one.
        visuals: parts of the first message.

    Returns:
        ids and labels of equal length; label i is token i where it is learnt, else IGNORE.

    Raises:
        DataError: an empty answer, a mark within a question, or a chat template that rewrites earlier turns.
    """
    ids: list[int] = []
    labels: list[int] = []
    messages: list[dict[str, Any]] = []
    done = ""
    for number, (question, answer) in enumerate(turns):
        messages.append(user(question, visuals if number == 0 else ()))
        text = processor.render(messages)
        if not text.startswith(done):
            raise DataError(f"the chat template rewrites earlier turns at {question[:60]!r}: train on single turns")
        prompt = _ids(processor, text[len(done) :], len(visuals) if number == 0 else 0)
        tail = answer_ids(processor, answer)
        ids += prompt + tail
        labels += [IGNORE] * len(prompt) + tail
        messages.append({"role": "assistant", "content": words(answer)})
        done = processor.render(messages, add_generation_prompt=False)
        end = processor.tokenizer.eos_token
        # What a template puts behind the end token belongs to the next turn.
        done = done[: done.rfind(end) + len(end)] if end in done[len(text) :] else done
    return ids, labels


@dataclass(frozen=True)
class Batch:
    """Conversations as tensors.

    Attributes:
        ids: int64 [R, L], padded on the right.
        labels: int64 [R, L], IGNORE where nothing is learnt.
        positions: int64 [R, L], from 0 in each conversation.
        owner: int64 [R, L], number of the conversation within its row, -1 for padding.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    owner: Tensor

    def mask(self, dtype: torch.dtype) -> Tensor:
        """What is added to attention scores [R, 1, L, L]: each token sees the earlier ones of its conversation."""
        L = self.ids.shape[1]
        same = self.owner[:, :, None] == self.owner[:, None, :]
        seen = same & torch.ones(L, L, dtype=torch.bool, device=same.device).tril()
        return torch.zeros(seen.shape, dtype=dtype, device=same.device).masked_fill_(~seen, torch.finfo(dtype).min)[
            :, None
        ]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(*(part.to(device) for part in (self.ids, self.labels, self.positions, self.owner)))


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
        pack: put several short conversations into a row, longest first.
        earlier: (question, answer) of the turns before each question.

    Returns:
        The rows, and the order in which the conversations, and so their visuals, stand in them.

    Raises:
        DataError: a conversation is longer than `max_tokens`; nothing is cut silently.
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
    rows = _packed([len(ids) for ids, _ in pairs], max_tokens) if pack else [[number] for number in range(len(pairs))]
    longest = max(sum(len(pairs[number][0]) for number in row) for row in rows)
    shape = (len(rows), longest)
    pad = processor.tokenizer.pad_token_id
    filled = torch.full(shape, processor.tokenizer.eos_token_id if pad is None else pad)
    labels, positions, owner = torch.full(shape, IGNORE), torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    for at, row in enumerate(rows):
        begin = 0
        for place, number in enumerate(row):
            own, learnt = pairs[number]
            end = begin + len(own)
            filled[at, begin:end], labels[at, begin:end] = torch.tensor(own), torch.tensor(learnt)
            positions[at, begin:end], owner[at, begin:end] = torch.arange(len(own)), place
            begin = end
    return Batch(filled, labels, positions, owner), [number for row in rows for number in row]


def _packed(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Numbers of conversations by row: longest first, each into the first row where it fits."""
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
