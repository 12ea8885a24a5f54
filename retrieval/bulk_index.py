"""What an index folder asks of a backend that holds the bulk of its vectors, beyond the contract of an index."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from surgvl.retrieval.base import Index
from surgvl.retrieval.index_config import Device, IndexConfig


class BulkIndex(Index):
    """An index that is built at once, tuned by its measured recall, and read from a file that stays as it is."""

    SUFFIX: ClassVar[str]
    """Of its file."""
    FORGETS: ClassVar[bool] = False
    """Whether a removal is written into its file at once, and not when the index is built again."""
    effort: int = 0
    """How thoroughly an approximate index searches; stored in its file."""

    @classmethod
    def create(cls, dim: int, config: IndexConfig) -> Self:
        """An empty index for vectors [N, dim]."""
        return cls(dim)

    @classmethod
    @abstractmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """About what a vector takes in memory and on disk."""

    def efforts(self) -> Sequence[int]:
        """Ascending values of `effort` worth trying; none for exact search."""
        return ()

    @abstractmethod
    def train(self, vectors: NDArray[np.float32]) -> None:
        """Prepare for vectors like these [N, E].

        Raises:
            DataError: the index already holds vectors.
        """

    @classmethod
    @abstractmethod
    def load(cls, path: Path | str, is_mapped: bool = False) -> Self:
        """Read a file that `save` wrote.

        Args:
            path: the file.
            is_mapped: leave the bulk of it on disk, and read what searches touch.

        Raises:
            DataError: it is missing or not such a file.
        """

    def place(self, device: Device) -> None:
        """Choose where searches run, once all vectors are there; a backend without a choice leaves it.

        Raises:
            ConfigError: a GPU is asked for that cannot be used.
        """

    @classmethod
    def clear(cls, path: Path, kept: Sequence[Path]) -> None:
        """Delete the file of an old version, and what belongs to it and to none of the files that are kept."""
        path.unlink(missing_ok=True)
