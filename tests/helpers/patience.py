"""How long tests wait: what is promised in seconds of a quiet machine takes longer on a busy or a slow one."""

import time

MARGIN = 4.0
"""A machine may be so many times slower than the one that the promises were made on."""
# Some turns of a scheduler, and little work for hundreds of calls.
SAMPLE_S = 0.03


def patience(promised_s: float) -> float:
    """Seconds within which something must happen here and now that takes `promised_s` on a quiet machine.

    How busy the machine is shows in how long a little processor time takes.
    """
    begun_s, done_s = time.monotonic(), time.process_time() + SAMPLE_S
    while time.process_time() < done_s:
        pass
    return promised_s * MARGIN * max(1.0, (time.monotonic() - begun_s) / SAMPLE_S)
