"""Counts, lists and sizes in sentences."""

from collections.abc import Sequence

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


def shorten(names: Sequence[str], most: int = 6) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def data_size(num_bytes: int) -> str:
    """`1.2 GB`, `3.4 MB`."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
