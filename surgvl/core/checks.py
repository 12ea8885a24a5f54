"""Checks of arguments: one line says which must be what, and what was given."""

import difflib
import math
from collections.abc import Iterable, Sequence

from surgvl.core.errors import ConfigError


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Check that a number is finite and within bounds, which belong to the range.

    Raises:
        ConfigError: it is not.
    """
    if not (math.isfinite(value) and low <= value <= high):
        allowed = f">= {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ConfigError(f"{name} must be {allowed}, got {value:g}")


def check_above(name: str, value: float, low: float = 0.0) -> None:
    """Check that a number is finite and above a bound.

    Raises:
        ConfigError: it is not.
    """
    if not (math.isfinite(value) and value > low):
        raise ConfigError(f"{name} must be > {low:g}, got {value:g}")


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Check that a word is one of several.

    Raises:
        ConfigError: it is not; the message names the nearest one.
    """
    if value not in allowed:
        hint = did_you_mean(value, allowed)
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{hint and f': {hint}'}")


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean ...?` if there is a similar word, else `otherwise`."""
    similar = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {similar[0]}?" if similar else otherwise
