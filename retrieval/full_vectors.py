"""Full vectors by row, float32, beside an index that holds them with few bits: mapped from its file, and read by need.

Shape letters: N vectors, M rows, E dimensions.
"""

from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

# Where they begin in a file is a multiple of this, so that they are read as they lie.
_ALIGNED = 64


class FullVectors:
    """Vectors in the order of their rows; those of a file stay there.

    Args:
        dim: E.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._parts: list[NDArray[np.float32]] = []
        # Row of the first vector of each part, and of the next.
        self._first = np.zeros(1, np.int64)

    @classmethod
    def mapped(cls, path: Path, end: int, shape: tuple[int, int]) -> Self:
        """Those [N, E] in a file that `write` wrote, before byte `end`."""
        full = cls(shape[1])
        full._put(np.memmap(path, np.float32, "r", end - 4 * shape[0] * shape[1], shape))
        return full

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors [N, E]."""
        self._put(np.array(vectors, np.float32))

    def _put(self, part: NDArray[np.float32]) -> None:
        self._parts.append(part)
        self._first = np.append(self._first, self._first[-1] + len(part))

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors [M, E] of rows [M]."""
        found = np.empty((len(rows), self._dim), np.float32)
        parts = np.searchsorted(self._first, rows, "right") - 1
        for at in np.unique(parts).tolist():
            mine = parts == at
            found[mine] = self._parts[at][rows[mine] - self._first[at]]
        return found

    def write(self, file: BinaryIO) -> None:
        """Append them to a file."""
        file.write(b"\0" * (-file.tell() % _ALIGNED))
        for part in self._parts:
            part.tofile(file)
