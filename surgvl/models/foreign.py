"""Third-party files read by third-party libraries: no code in them is run, and errors become one line."""

import logging
import math
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from surgvl.core.errors import CheckpointError, first_line

# Raised by torch, transformers, open_clip and their parsers on damaged files or files of a different kind.
ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


class foreign:  # noqa: N801 (used as a statement)
    """A context in which an error of a library about a file becomes one line.

    Args:
        problem: what is wrong with which file.
        remedy: what to do.

    Raises:
        CheckpointError: the library raised one of `ERRORS`.
    """

    def __init__(self, problem: str, remedy: str = "give a whole folder of such a model, without code or pickles"):
        self.problem, self.remedy = problem, remedy

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Replace a library's error; let others pass."""
        # The tokenizers library raises bare Exceptions.
        if kind is Exception or isinstance(error, ERRORS):
            raise CheckpointError(f"{self.problem} ({first_line(error)}): {self.remedy}") from error


def check_finite(weights: Mapping[str, object], path: Path | str) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        CheckpointError: NaN or infinity in one of them.
    """
    bad = [
        name
        for name, value in weights.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not _is_finite(value)
    ]
    if bad:
        raise CheckpointError(
            f"{path} holds NaN or infinity in {len(bad)} of {len(weights)} tensors, the first {bad[0]}: training "
            "diverged or the file is damaged; give other weights"
        )


def _is_finite(value: torch.Tensor) -> bool:
    # NaN is both the least and the greatest of values that hold one. `isfinite` takes twenty times as long.
    return not value.numel() or all(math.isfinite(bound) for bound in value.aminmax())


@contextmanager
def without_notes() -> Iterator[None]:
    """Without the notes and warnings of a library: what matters of them is an error here."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
