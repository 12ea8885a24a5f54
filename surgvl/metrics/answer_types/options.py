"""Options of a question, as a model is shown them: lettered, in the order of the data or in another one.

Shapes: A options.
"""

import math
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass

from surgvl.core.files import text_hash
from surgvl.metrics.answer import to_text

_LETTERS = string.ascii_uppercase


class Unlettered(tuple[str, ...]):
    """Options in an order that is not known to be the one in which they were shown, so that no letter means one."""

    __slots__ = ()


@dataclass(frozen=True)
class Options:
    """The options of a closed question, in the order in which they are shown.

    Attributes:
        answers: A allowed answers as the data spell them.
    """

    answers: tuple[str, ...]

    @classmethod
    def of(cls, answers: Sequence[str]) -> "Options":
        """The options of any sequence; those that are `Unlettered` stay so."""
        return cls(answers if isinstance(answers, Unlettered) else tuple(answers))

    @property
    def letters(self) -> bool:
        """Whether an option is declared by its letter; more than 26 are declared by their text."""
        return len(self.answers) <= len(_LETTERS) and not isinstance(self.answers, Unlettered)

    @property
    def labels(self) -> list[str]:
        """What declares each option: a letter, or its text."""
        return list(_LETTERS[: len(self.answers)]) if self.letters else [to_text(each) for each in self.answers]

    def of_label(self, label: str) -> str:
        """The answer that a label stands for; ValueError if there is none."""
        return self.answers[self.labels.index(label)]

    @property
    def lines(self) -> list[str]:
        """A line for each option: its letter and text, or its text alone."""
        if not self.letters:
            return [to_text(each) for each in self.answers]
        return [f"{label}. {to_text(each)}" for label, each in zip(self.labels, self.answers, strict=True)]


def ordered(answers: Sequence[str], shuffle: bool, seed: int, about: str, order: int = 1) -> Options:
    """Options in the given order, or shuffled by the seed and what is asked about, whatever was asked before.

    Args:
        answers: A allowed answers.
        shuffle: whether to shuffle them.
        seed: of the shuffle.
        about: identifies the question, such as its text and its clip.
        order: from 2 on, another order than that of order 1, and than those between while there are others.
    """
    kept = list(answers)
    if shuffle:
        random.Random(int(text_hash(f"{seed} {about}"), 16)).shuffle(kept)
    orders, possible = [kept], math.factorial(len(set(kept)))
    for number in range(2, order + 1 if possible > 1 else 2):
        draw, kept = random.Random(int(text_hash(f"{seed} {about} {number}"), 16)), list(orders[0])
        while kept == orders[0] or (kept in orders and len(orders) < possible):
            draw.shuffle(kept)
        orders.append(kept)
    return Options(tuple(kept))
