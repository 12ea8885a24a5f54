"""Class names, answers, times and numbers as people read them: plain text, which the templates escape."""

import math
import re

# Two official phase names omit the "and" with which they are spoken.
_AND = {"clipping cutting": "clipping and cutting", "cleaning coagulation": "cleaning and coagulation"}


def phase(name: str) -> str:
    """`CalotTriangleDissection` or `calot_triangle_dissection` -> Calot triangle dissection."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").replace("-", " ").lower()
    spaced = _AND.get(spaced, spaced)
    return spaced[:1].upper() + spaced[1:]


def triplet(name: str) -> str:
    """`hook,dissect,cystic_duct` -> hook · dissect · cystic duct; a null triplet is an idle instrument."""
    parts = [part.replace("_", " ") for part in name.split(",")]
    if parts[1:] == ["null verb", "null target"]:
        return f"{parts[0]} · idle"
    return " · ".join(parts)


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
