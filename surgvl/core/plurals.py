"""Counts in sentences."""


def plural(count: int, one: str) -> str:
    """`1 video`, `2 videos`, `1,200 videos`."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def none_of(count: int, one: str, lacks: str, first: str) -> str:
    """Why none of several things can be used, by the first of them; of a single one, just its own reason."""
    return first if count == 1 else f"none of {count:,} {one}s {lacks}; the first: {first}"
