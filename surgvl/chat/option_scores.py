"""Likelihoods of options from scored conversations that differ in the answer only.

Shapes: A options; a conversation is a list of (token, log-probability).
"""

from collections.abc import Sequence
from itertools import takewhile

Scored = Sequence[tuple[int, float]]


def option_scores(conversations: Sequence[Scored], tail: int) -> tuple[float, ...]:
    """Log-likelihood of each of A options with the end token.

    Args:
        conversations: A of them.
        tail: tokens after the option, the end token included (`tail_of`).
    """
    same = common([[token for token, _ in each] for each in conversations])
    return tuple(sum(value for _, value in each[same : len(each) - tail + 1]) for each in conversations)


def tail_of(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of tokens that a template writes after an answer, from two conversations with answers of other ends."""
    return common([first[::-1], second[::-1]])


def common(rows: Sequence[Sequence[int]]) -> int:
    """Length of the common beginning."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
