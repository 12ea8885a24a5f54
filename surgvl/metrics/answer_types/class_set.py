"""Any number of the options, such as the instruments that are visible: right if the sets are equal.

A set is written as its members with ", " between them ("; " where members have commas), or "none".
"""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.metrics.answer import normalise, to_text
from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import answer_text, declarations, is_negated

NONE = "none"
_NOTHING = re.compile(r"\s*(?:there\s+(?:is|are)\s+)?(?:none|nothing|no\s+\w+)\b", re.IGNORECASE)
_LETTERS = re.compile(r"[(\[]?[A-Z][)\].]?(?:(?:\s*[,;&/+]\s*|\s+and\s+|\s+)(?:and\s+)?[(\[]?[A-Z][)\].]?)*")


class ClassSet(AnswerType):
    """Some of the options, or none of them."""

    name: ClassVar[str] = "class_set"
    takes_options: ClassVar[bool] = True
    rule: ClassVar[str] = "the same classes, none missing and none too many"
    measures: ClassVar[Mapping[str, str]] = {"f1": "mean over answers of the F1 of their classes; two empty sets: 1"}

    def instruction(self, options: Options) -> str:
        """Letters or texts of all that apply."""
        what = "letters of all options" if options.letters else "lines of all options"
        return f"Answer with the {what} that apply, separated by commas, or with none."

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The options that the last declaration names; without a declaration, those that the reply names."""
        shown = Options.of(options)
        for text in declarations(answer_text(reply), clauses=False):
            if (found := _named(text, shown)) is not None:
                return written(found)
        return None

    def verify(self, answer: str) -> None:
        """Check that no member is empty or occurs twice.

        Raises:
            DataError: one is, or does.
        """
        members = [normalise(each) for each in self.members(answer)]
        if not answer.strip() or "" in members or len(set(members)) != len(members):
            raise DataError(
                f"an answer of type class_set must be different classes with commas between, or none, got {answer!r}: "
                "correct it"
            )

    def right(self, truth: str, said: str) -> bool:
        """Whether two sets are equal."""
        return bool(said) and self._set(truth) == self._set(said)

    def measure(self, truth: str, said: str) -> dict[str, float]:
        """F1 of the classes."""
        a, b = self._set(truth), self._set(said)
        if not said:
            return {"f1": 0.0}
        return {"f1": 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0}

    def members(self, answer: str) -> tuple[str, ...]:
        """The classes of a set."""
        if normalise(answer) == NONE:
            return ()
        return tuple(part.strip() for part in answer.split(";" if ";" in answer else ","))

    def _set(self, answer: str) -> set[str]:
        return {normalise(each) for each in self.members(answer)}


def written(members: Sequence[str]) -> str:
    """A set as text."""
    return ("; " if any("," in each for each in members) else ", ").join(sorted(members)) or NONE


def _named(text: str, options: Options) -> list[str] | None:
    """The options that a text names by letters or by their words; None if it names neither any nor none."""
    bare = text.strip(" \t\n.;:!\"'")
    if options.letters and _LETTERS.fullmatch(bare):
        letters = re.findall(r"\b[A-Z]\b", bare)
        if not set(letters) <= set(options.labels):
            return None
        return [options.of_label(each) for each in dict.fromkeys(letters)]
    spelt = {" ".join(to_text(each).casefold().split()): each for each in options.answers}
    # The longest first, so that `cystic duct` is not read as `duct`.
    words = "|".join(sorted(map(re.escape, spelt), key=len, reverse=True)).replace(r"\ ", r"[\s_]+")
    matches = list(re.finditer(rf"(?<![\w-])(?:{words})s?(?![\w-])", text, re.IGNORECASE)) if spelt else []
    found = []
    for each in matches:
        key = " ".join(to_text(each[0]).casefold().split())
        if not is_negated(text, each):
            found.append(spelt[key] if key in spelt else spelt[key.removesuffix("s")])
    if found:
        return list(dict.fromkeys(found))
    return [] if _NOTHING.match(bare) else None
