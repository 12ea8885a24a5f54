"""How many cores this process may use, which may be fewer than the machine has: schedulers and containers set them."""

import os


def num_cores() -> int:
    """Number of cores that this process may use; where the system does not tell (macOS, Windows), of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
