"""A time in a video: right within 5 seconds, as in the FOCUS challenge.

Read are 1:15, 0:01:15.5, "1 min 15 s", "75 seconds" and a bare number of seconds. A range, or two different times,
declare none.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.times import clock, seconds
from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.number import only_number
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import answer_text, declarations

TOLERANCE_S = 5.0
_CLOCK = re.compile(r"(?<![\d:.])\d+(?::[0-5]\d){1,2}(?:\.\d+)?(?![\d:])")
_PART = r"(\d+(?:\.\d+)?)\s*(?:{})(?![a-z])"
_UNITS = re.compile(
    r"(?<![\d.])(?:" + _PART.format("h|hrs?|hours?") + r"[\s,]*(?:and\s+)?)?"
    r"(?:" + _PART.format("m|mins?|minutes?") + r"[\s,]*(?:and\s+)?)?"
    r"(?:" + _PART.format("s|secs?|seconds?") + r")?",
    re.IGNORECASE,
)


class Time(AnswerType):
    """A time from the beginning of the video, as h:mm:ss.t."""

    name: ClassVar[str] = "time"
    rule: ClassVar[str] = f"within {TOLERANCE_S:g} s"
    measures: ClassVar[Mapping[str, str]] = {"error": "mean absolute difference in seconds"}

    def instruction(self, options: Options) -> str:
        """Minutes and seconds."""
        return "Answer with one time from the beginning of the video as h:mm:ss only."

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The last declared time; without a declaration, the only one."""
        for text in declarations(answer_text(reply)):
            if (found := _only_time(text)) is not None:
                return clock(found)
        return None

    def verify(self, answer: str) -> None:
        """Check that it is seconds, m:ss or h:mm:ss.

        Raises:
            DataError: it is not.
        """
        try:
            seconds(answer)
        except ConfigError as error:
            raise DataError(
                f"an answer of type time must be seconds, m:ss or h:mm:ss, got {answer!r}: correct it"
            ) from error

    def right(self, truth: str, said: str) -> bool:
        """Whether two times are close."""
        return bool(said) and abs(seconds(truth) - seconds(said)) <= TOLERANCE_S + 1e-9

    def measure(self, truth: str, said: str) -> dict[str, float]:
        """The difference."""
        return {"error": abs(seconds(truth) - seconds(said)) if said else math.nan}


def _only_time(text: str) -> float | None:
    """Seconds of the only time in a text; None without one, or with two."""
    found = {seconds(each[0]) for each in _CLOCK.finditer(text)}
    rest = _CLOCK.sub(" ", text)
    for each in _UNITS.finditer(rest):
        if any(each.groups()):
            found.add(sum(float(part or 0) * unit for part, unit in zip(each.groups(), (3600, 60, 1), strict=True)))
    if not found:
        bare = only_number(text)
        return bare if bare is not None and bare >= 0 else None
    # "10 to 20 s": a number beside the time may be the other end of a range.
    if re.search(r"\d\s*(?:-|–|—|\bto\b)\s*\d", text):
        return None
    return found.pop() if len(found) == 1 else None
