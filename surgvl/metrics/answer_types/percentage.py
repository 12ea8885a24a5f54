"""A percentage: right within 5 percentage points, as in the FOCUS challenge.

Read are "45 %", "45 per cent" and a bare 45. A bare fraction such as 0.45 may mean either, and declares none, as does
a range.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.number import only_number
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import answer_text, declarations

TOLERANCE = 5.0
_SIGN = re.compile(r"\s*(?:%|per\s?cent(?:age\s+points?)?\b)", re.IGNORECASE)


class Percentage(AnswerType):
    """A number from 0 to 100, without the sign."""

    name: ClassVar[str] = "percentage"
    rule: ClassVar[str] = f"within {TOLERANCE:g} percentage points"
    measures: ClassVar[Mapping[str, str]] = {"error": "mean absolute difference in percentage points"}

    def instruction(self, options: Options) -> str:
        """Digits and the sign."""
        return "Answer with one percentage from 0% to 100% only, such as 40%."

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The last declared percentage; without a declaration, the only one."""
        for text in declarations(answer_text(reply)):
            signed = re.search(r"\d" + _SIGN.pattern, text, re.IGNORECASE)
            found = only_number(_SIGN.sub(" ", text))
            if found is not None and 0 <= found <= 100 and (signed or not 0 < found < 1):
                return f"{found:.12g}"
        return None

    def verify(self, answer: str) -> None:
        """Check that it is a number from 0 to 100.

        Raises:
            DataError: it is not.
        """
        try:
            good = 0 <= float(answer) <= 100
        except ValueError:
            good = False
        if not good:
            raise DataError(
                f"an answer of type percentage must be a number from 0 to 100 without sign, got {answer!r}: correct it"
            )

    def right(self, truth: str, said: str) -> bool:
        """Whether two percentages are close."""
        return bool(said) and abs(float(truth) - float(said)) <= TOLERANCE + 1e-9

    def measure(self, truth: str, said: str) -> dict[str, float]:
        """The difference."""
        return {"error": abs(float(truth) - float(said)) if said else math.nan}
