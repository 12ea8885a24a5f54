"""The six outcomes of a question. Only `correct` is right; nothing is dropped, and no failure becomes a class.

| outcome | the model |
|---|---|
| correct, wrong | gave an answer |
| unparsed | replied, but declared none of the options, or two |
| refused | declined to answer |
| missing | gave no reply: an empty one, a request that failed after all retries, or a clip that cannot be read |
| late | did not reply within the time limit |
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

Problem = Literal["", "unparsed", "refused", "missing", "late"]
PROBLEMS: tuple[Problem, ...] = ("unparsed", "refused", "missing", "late")
OUTCOMES = ("correct", "wrong", *PROBLEMS)


def outcome(problem: str, is_right: bool) -> str:
    """The outcome of a question whose answer has a problem, or else is right or not."""
    return problem or ("correct" if is_right else "wrong")


def counted(outcomes: Iterable[str]) -> dict[str, int]:
    """How often each of the six outcomes occurs."""
    found = Counter(outcomes)
    return {name: found[name] for name in OUTCOMES}


def in_words(outcomes: Sequence[str]) -> str:
    """`30 correct, 15 wrong, 5 unparsed`; outcomes that do not occur are left out, but for the first two."""
    return ", ".join(f"{n:,} {name}" for name, n in counted(outcomes).items() if n or name in OUTCOMES[:2])
