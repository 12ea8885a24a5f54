"""Checks of arguments, with one-line errors: the argument, what is allowed, and the given value."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from datetime import date

from surgvl.core.errors import ConfigError, DataError

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
MAX_CHARACTERS = 300
"""Longest question; the page has the same limit."""


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Check that a number is finite and within bounds, which belong to the range.

    Raises:
        ConfigError: it is not.
    """
    if not (math.isfinite(value) and low <= value <= high):
        allowed = f">= {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ConfigError(f"{name} must be {allowed}, got {value:g}")


def check_above(name: str, value: float) -> None:
    """Check that a number is finite and above 0.

    Raises:
        ConfigError: it is not.
    """
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be > 0, got {value:g}")


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Check that a word is one of several.

    Raises:
        ConfigError: it is not; the message names the nearest one.
    """
    if value not in allowed:
        hint = did_you_mean(value, allowed)
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{hint and f': {hint}'}")


def check_date(name: str, value: str) -> None:
    """Check that a text is a day, month or year in ISO form.

    Raises:
        ConfigError: it is not.
    """
    try:
        if not _DATE.fullmatch(value):
            raise ValueError
        date.fromisoformat(value + "-01" * (2 - value.count("-")))
    except ValueError:
        raise ConfigError(f"{name} must be YYYY-MM-DD, YYYY-MM or YYYY, got {value!r}") from None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean ...?` if there is a similar word, else `otherwise`."""
    similar = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {similar[0]}?" if similar else otherwise


def text_list(given: str | Sequence[str], what: str) -> list[str]:
    """Texts as a list; a single text is a list of one, not of its letters.

    Raises:
        DataError: one of them is not a string.
    """
    texts = [given] if isinstance(given, str) else list(given)
    if odd := [each for each in texts if not isinstance(each, str)]:
        raise DataError(f"{what} must be strings, got {str(odd[0])[:40]!r}: give a list of strings")
    return texts


def check_question(question: str) -> str:
    """The question, unchanged.

    Raises:
        DataError: not a string, empty, or too long.
    """
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"the question must be a text, got {str(question)[:40]!r}: ask in plain language")
    if len(question) > MAX_CHARACTERS:
        raise DataError(f"the question must have at most {MAX_CHARACTERS} characters, got {len(question)}: shorten it")
    return question
