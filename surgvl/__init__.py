"""surgvl: ask, search and measure surgical video. Nothing here is for clinical use.

model = surgvl.load("runs/quickstart/dual")
model.classify("operation.mp4", "cholec80_phase")
"""

import os
from typing import TYPE_CHECKING, Any

from surgvl.core.version import __version__

# OpenMP threads that wait spin for a long time by default, which makes a step ten times slower as soon as anything else
# runs on a core. Not spinning at all (OMP_WAIT_POLICY=PASSIVE) is slower too: each of the many small products of a step
# would begin by waking a thread.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__all__ = ["Archive", "__version__", "load"]

if TYPE_CHECKING:
    from surgvl.api import load
    from surgvl.archive.archive import Archive


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: wait until something needs it.
    if name == "load":
        from surgvl.api import load

        return load
    if name == "Archive":
        from surgvl.archive.archive import Archive

        return Archive
    raise AttributeError(f"module 'surgvl' has no attribute {name!r}")
