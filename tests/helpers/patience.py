"""How long tests wait: what is promised in seconds of a quiet machine takes longer on a busy or a slow one."""

import time

MARGIN = 4.0
"""A machine may be so many times slower than the one that the promises were made on."""


def patience(promised_s: float) -> float:
    """Seconds within which something must happen here and now that takes `promised_s` on a quiet machine.

    How busy the machine is shows in how long a tenth of a second of processor time takes.
    """
    begun_s, done_s = time.monotonic(), time.process_time() + 0.1
    while time.process_time() < done_s:
        pass
    return promised_s * MARGIN * max(1.0, (time.monotonic() - begun_s) / 0.1)
