"""The products that torch's own layers make, for comparisons with these."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def by_torch() -> Iterator[None]:
    """Our linear layers multiply as torch's do."""
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(True)  # type: ignore[no-untyped-call]
