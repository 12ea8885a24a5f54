"""Times in a video as people write them: seconds, m:ss or h:mm:ss, each with an optional fraction."""

import math
import re

from surgvl.core.errors import ConfigError

FORMS = "seconds (75.5), m:ss (1:15.5) or h:mm:ss (0:01:15.5)"
_SECONDS = re.compile(r"\d{1,9}(\.\d*)?|\.\d+", re.ASCII)
_CLOCK = re.compile(r"(?:(?P<h>\d{1,6}):(?=\d\d:))?(?P<m>\d{1,6}):(?P<s>\d\d(?:\.\d*)?)", re.ASCII)


def seconds(text: str | float, flag: str = "") -> float:
    """Parse a time.

    Args:
        text: 75.5, "75.5", "1:15.5" or "0:01:15.5"; seconds after a colon, and minutes after hours, are below 60.
        flag: its name in an error, such as `--at_s`.

    Returns:
        Seconds, >= 0.

    Raises:
        ConfigError: the text has a different form.
    """
    if isinstance(text, int | float) and 0 <= text < math.inf:
        return float(text)
    word = str(text).strip()
    if _SECONDS.fullmatch(word):
        return float(word)
    if match := _CLOCK.fullmatch(word):
        hours, minutes, rest = int(match["h"] or 0), int(match["m"]), float(match["s"])
        if rest < 60 and (minutes < 60 or match["h"] is None):
            return 3600 * hours + 60 * minutes + rest
    raise ConfigError(f"{flag + ' ' if flag else ''}{word!r} is not a time in a video: write {FORMS}")


def clock(time_s: float) -> str:
    """h:mm:ss.t, rounded to tenths of a second; `seconds` parses it."""
    tenths = round(time_s * 10)
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths % 600 / 10:04.1f}"
