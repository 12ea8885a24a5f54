"""A number, such as a count: right if it is equal.

Read are digits with thousands separators (1,234), a decimal point, a sign and a unit behind, and the words zero to
twenty. A range, a fraction or two different numbers declare none.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import answer_text, declarations

_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
# Thin and unbreakable spaces are plain ones after Unicode's normalisation.
DIGITS = r"\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?"
_NUMBER = re.compile(
    rf"(?<![\w.])(?<!\d:)[-−+]?(?:{DIGITS})(?![\d:]|(?:st|nd|rd|th)\b)|\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE
)
# Two numbers that are one statement, of which neither alone is the answer: "2-3", "2 to 3", "2 or 3", "1/2", "3 of 4".
_JOINED = re.compile(r"\s*(?:-|–|—|/|\bto\b|\bor\b|\band\b|\bout\s+of\b|\bof\b)\s*", re.IGNORECASE)


class Number(AnswerType):
    """A number; it is written without thousands separators."""

    name: ClassVar[str] = "number"
    rule: ClassVar[str] = "equal as numbers"
    measures: ClassVar[Mapping[str, str]] = {"error": "mean absolute difference"}

    def instruction(self, options: Options) -> str:
        """Digits."""
        return "Answer with one number in digits only."

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The last declared number; without a declaration, the only number."""
        for text in declarations(answer_text(reply)):
            if (found := only_number(text)) is not None:
                return f"{found:.12g}"
        return None

    def verify(self, answer: str) -> None:
        """Check that it is a finite number.

        Raises:
            DataError: it is not.
        """
        try:
            finite = math.isfinite(float(answer))
        except ValueError:
            finite = False
        if not finite:
            raise DataError(f"an answer of type number must be a number such as 3 or 2.5, got {answer!r}: correct it")

    def right(self, truth: str, said: str) -> bool:
        """Whether two numbers are equal."""
        return bool(said) and math.isclose(float(truth), float(said), rel_tol=1e-9, abs_tol=1e-9)

    def measure(self, truth: str, said: str) -> dict[str, float]:
        """The difference."""
        return {"error": abs(float(truth) - float(said)) if said else math.nan}


def only_number(text: str) -> float | None:
    """The only number in a text, however often it is repeated; None without one, or with two."""
    found = list(_NUMBER.finditer(text))
    for first, second in zip(found, found[1:], strict=False):
        if _JOINED.fullmatch(text, first.end(), second.start()):
            return None
    said = {value_of(each[0]) for each in found}
    # A percentage is a number of another type.
    if len(said) != 1 or any(re.match(r"\s*(?:%|per\s?cent\b)", text[each.end() :]) for each in found):
        return None
    return said.pop()


def value_of(written: str) -> float:
    """The value of digits or of a word."""
    if written.casefold() in _WORDS:
        return float(_WORDS.index(written.casefold()))
    return float(re.sub(r"[, ]", "", written.replace("−", "-")))
