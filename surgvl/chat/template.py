"""A question and its answer as token ids with a label mask, by construction and never by searching tokenised text.

The text after the clip is `<bos>question: Q answer: ` + `A<eos>`; labels are the answer and the end token.
Shapes: B samples, L tokens of the longest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgvl.errors import DataError
from surgvl.models.tokenizer import Tokenizer

IGNORE = -100


def words(answer: str) -> str:
    """An answer as words: PitVQA and its kin join them by underscores."""
    return answer.replace("_", " ").strip()


def prompt_ids(tokenizer: Tokenizer, question: str) -> list[int]:
    """Token ids of the text up to the answer."""
    return [tokenizer.bos_id, *tokenizer.encode(f"question: {question} answer:")]


def answer_ids(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Token ids of an answer with the end token.

    Raises:
        DataError: the answer is empty.
    """
    ids = tokenizer.encode(words(answer))
    if not ids:
        raise DataError(f"answer {answer!r} has no tokens: give a text")
    return [*ids, tokenizer.eos_id]


def training_batch(
    tokenizer: Tokenizer, questions: Sequence[str], answers: Sequence[str], max_tokens: int = 256
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and labels of questions with their answers.

    Args:
        tokenizer: of the language model.
        questions: B questions.
        answers: B answers.
        max_tokens: longest text allowed.

    Returns:
        ids int64 [B, L], mask bool [B, L], labels int64 [B, L]: the token expected at each place, IGNORE in the prompt
        and the padding.

    Raises:
        DataError: a text is longer than `max_tokens`; nothing is cut silently.
    """
    rows = []
    for question, answer in zip(questions, answers, strict=True):
        prompt, tail = prompt_ids(tokenizer, question), answer_ids(tokenizer, answer)
        if len(prompt) + len(tail) > max_tokens:
            raise DataError(
                f"question {question[:60]!r} with its answer has {len(prompt) + len(tail)} tokens, more than "
                f"{max_tokens}: raise --max_tokens or shorten it"
            )
        rows.append((prompt, tail))
    longest = max(len(prompt) + len(tail) for prompt, tail in rows)
    ids = torch.full((len(rows), longest), tokenizer.pad_id)
    labels = torch.full((len(rows), longest), IGNORE)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for row, (prompt, tail) in enumerate(rows):
        end = len(prompt) + len(tail)
        ids[row, :end] = torch.tensor(prompt + tail)
        labels[row, len(prompt) : end] = torch.tensor(tail)
        mask[row, :end] = True
    return ids, mask, labels
