"""surgvl: ask, search and measure surgical video. Nothing here is for clinical use.

model = surgvl.load("runs/quickstart/dual")
model.classify("operation.mp4", "cholec80_phase")
"""

import os
from typing import TYPE_CHECKING, Any

# OpenMP threads that spin while they wait make a step ten times slower as soon as anything else runs on a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from surgvl.api import load


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: wait until something needs it.
    if name == "load":
        from surgvl.api import load

        return load
    raise AttributeError(f"module 'surgvl' has no attribute {name!r}")
