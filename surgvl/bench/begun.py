"""What the folder of a suite was begun with, and what of that is different now.

A folder of an earlier version lacks fields that were added since; they count as their defaults. Words that no command
takes may differ.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from surgvl.bench.suite import Row, Suite

# Of a suite and its rows.
_WORDS = ("title", "source", "protocol", "published")
_SHOWN = 3


def as_now(suite: Mapping[str, Any]) -> Suite | None:
    """A stored suite with the defaults of fields that were added since; None if this version cannot read it."""
    try:
        return Suite.model_validate(suite)
    except ValidationError:
        return None


def differences(then: Mapping[str, Any], now: Suite) -> str:
    """What is different in a stored suite, field by field, in words; empty if nothing is that changes a run."""
    known = as_now(then)
    before = _fields(known.model_dump(mode="json") if known else then)
    after = _fields(now.model_dump(mode="json"))
    places = [place for place in dict.fromkeys([*before, *after]) if before.get(place) != after.get(place)]
    told = [f"{place} was {_told(before, place)} and is {_told(after, place)}" for place in places]
    more = [f"{len(told) - _SHOWN} more"] if len(told) > _SHOWN else []
    return "; ".join([*told[:_SHOWN], *more])


def _fields(suite: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a suite by place, such as `rows.cholec80-phase.metrics`; the order of rows does not count."""
    rows = {Row.model_construct(**row).name: row for row in suite.get("rows", ())}
    found: dict[str, Any] = {}

    def add(value: Any, place: str) -> None:
        if isinstance(value, Mapping) and value:
            for key, each in value.items():
                if key not in _WORDS:
                    add(each, f"{place}.{key}" if place else str(key))
        else:
            found[place] = value

    add({**suite, "rows": rows}, "")
    return found


def _told(fields: Mapping[str, Any], place: str) -> str:
    return repr(fields[place]) if place in fields else "absent"
