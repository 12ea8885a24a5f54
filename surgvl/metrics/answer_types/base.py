"""The contract of a type of answers, and how a question's type is found.

The practice of the FOCUS challenge (MICCAI 2026): each type verifies the truth, reads what a reply declares, and
compares the two. A question says its type by the beginning of its `type` in the manifest: `number`, `number_tools`,
`time_of_clipping`, `open_phase`; all others are choices.
Shapes: A options.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

import surgvl.metrics.answer_types
from surgvl.core.errors import DataError
from surgvl.core.registry import discover
from surgvl.metrics.answer import normalise
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import is_refusal, without_thought
from surgvl.metrics.outcomes import Problem

PLAIN = "{question}\n{options}\n{format}"
"""The usual wording."""


class AnswerType(ABC):
    """A type of answers. An answer is a text, in the form that `read` returns.

    Attributes:
        name: public name, equal to the file's.
        takes_options: whether a question brings the options that it is answered from.
        rule: when an answer is right, for the protocol.
        measures: further scores of an answer, by name, with what they are. `error` is averaged over the answers that
            were read; all others are 0 for an answer that was not.
    """

    name: ClassVar[str] = ""
    takes_options: ClassVar[bool] = False
    rule: ClassVar[str] = "equal after case, underscores and full stop are dropped"
    measures: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def instruction(self, options: Options) -> str:
        """The line that tells a model in which form to answer; empty if it is free."""

    def prompt(self, question: str, options: Options, wording: str = PLAIN) -> str:
        """A question as a model is asked it: with its options, and how to answer.

        Args:
            question: in plain language.
            options: of the question; none: an empty tuple.
            wording: a template with the fields question, options and format; lines that stay empty are left out.
        """
        fields = {"question": question, "options": "\n".join(options.lines), "format": self.instruction(options)}
        lines = (line.format_map(fields) for line in wording.splitlines())
        return "\n".join(line for line in lines if line)

    @abstractmethod
    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The answer that a reply declares; None if it declares none, or two.

        Args:
            reply: as the model wrote it.
            options: A options in the order in which they were shown.
        """

    def verify(self, answer: str) -> None:
        """Check that a true answer is one of this type.

        Raises:
            DataError: it is not.
        """
        if not answer.strip():
            raise DataError(f"an answer of type {self.name} must not be empty: correct the manifest")

    def right(self, truth: str, said: str) -> bool:
        """Whether an answer is right."""
        return normalise(truth) == normalise(said)

    def measure(self, truth: str, said: str) -> dict[str, float]:
        """The scores that `measures` names."""
        return {}

    def members(self, answer: str) -> tuple[str, ...]:
        """The options that a true answer consists of."""
        return (answer,)


@cache
def answer_types() -> dict[str, AnswerType]:
    """All types of answers by name."""
    return {name: kind() for name, kind in discover(surgvl.metrics.answer_types, AnswerType).items()}  # type: ignore[type-abstract]


@cache
def type_of(kind: str) -> AnswerType:
    """The type of the answers to questions of a manifest's `type`."""
    known = answer_types()
    if kind == "describe":
        return known["open"]
    return next((known[name] for name in known if kind == name or kind.startswith(f"{name}_")), known["choice"])


def is_typed(kind: str) -> bool:
    """Whether answers to questions of a manifest's `type` are neither choices nor free text."""
    return type_of(kind).name not in ("choice", "open")


def read_answer(kind: AnswerType, reply: str, options: Sequence[str] = ()) -> tuple[str, Problem]:
    """The answer in a reply, or why there is none.

    Args:
        kind: type of the answer.
        reply: as the model wrote it.
        options: A options in the order in which they were shown.
    """
    if not without_thought(reply):
        return "", "missing"
    # Free text would take a refusal for an answer.
    if kind.name == "open" and is_refusal(reply):
        return "", "refused"
    said = kind.read(reply, options)
    if said is None:
        return "", "refused" if is_refusal(reply) else "unparsed"
    return said, ""
