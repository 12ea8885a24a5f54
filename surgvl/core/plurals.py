"""Counts in sentences."""

_PLURAL_VERBS = {"is": "are", "was": "were", "has": "have", "fits": "fit"}


def plural(count: int, one: str) -> str:
    """`1 video`, `2 videos`, `1,200 videos`."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def part_of(count: int, total: int, one: str, verb: str) -> str:
    """A part of several things with its verb: `1 of 3 videos was`, `2 of 3 videos were`.

    Args:
        count: size of the part.
        total: number of things.
        one: a single thing.
        verb: is, was, has or fits.
    """
    return f"{count:,} of {plural(total, one)} {verb if count == 1 else _PLURAL_VERBS[verb]}"


def none_of(count: int, one: str, lacks: str, first: str) -> str:
    """Why none of several things can be used, with the reason of the first; for a single one, its reason alone."""
    return first if count == 1 else f"none of {count:,} {one}s {lacks}; the first: {first}"
