"""Numbers and messages as people read them: plain text, which the templates escape."""

import math
import re


def score(value: float, metric: str = "") -> str:
    """A score with three decimals, a rank with one; a dash if it is undefined."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if metric.endswith("rank") else f"{value:.3f}"


def hours(value: float) -> str:
    """Hours as hours, or as minutes below two hours."""
    return f"{value:.1f} h" if value >= 2 else f"{value * 60:.0f} min"


def without_folders(text: str) -> str:
    """A message with file names in place of paths, because a browser need not know where files are."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "", text)
