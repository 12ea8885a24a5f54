"""Times of formats that count milliseconds."""

import math


def milliseconds(time_s: float) -> int:
    """The first whole millisecond at which the frame that begins at a time is shown: rounded up."""
    return math.ceil(time_s * 1000 - 1e-6)


def clock_ms(time_ms: int, point: str) -> str:
    """hh:mm:ss, the decimal point, and milliseconds."""
    seconds, rest_ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest_ms:03d}"
