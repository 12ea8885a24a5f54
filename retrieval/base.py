"""The contract of a vector index.

Shape letters: N vectors, Q queries, E dimensions. Scores are inner products (cosines of unit vectors), rounded to six
decimals so that vectors equal up to rounding tie; ties are ordered by id. Missing results have id -1 and score -inf.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError

Ids = NDArray[np.int64]
DECIMALS = 6
# Queries per batch, which bounds memory.
_BATCH = 256


class Index(ABC):
    """Vectors by int64 id. Subclasses store and search; this class validates arguments.

    Attributes:
        name: public name of the backend.
        dim: E.
    """

    name: ClassVar[str] = ""

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ConfigError(f"dim must be >= 1, got {dim}")
        self.dim = dim
        self._sorted: Ids | None = None

    @property
    @abstractmethod
    def ids(self) -> Ids:
        """All ids, int64 [N], in any order."""

    @abstractmethod
    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None: ...

    @abstractmethod
    def _remove(self, ids: Ids) -> None: ...

    @abstractmethod
    def _search(self, queries: NDArray[np.float32], k: int, where: Ids | None) -> tuple[Float32Array, Ids]: ...

    @abstractmethod
    def vectors_of(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Stored vectors float32 [M, E] of these ids [M].

        Raises:
            DataError: an id is unknown.
        """

    @abstractmethod
    def save(self, path: Path | str) -> None:
        """Write one file, atomically."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file that `save` wrote.

        Raises:
            DataError: it is missing or not such a file.
        """

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors [N, E] under new ids [N].

        Raises:
            DataError: wrong shape, NaN or infinity, or an id that is negative, duplicate or already in the index.
        """
        rows, keys = self._rows(vectors), self._keys(ids)
        if len(rows) != len(keys):
            raise DataError(f"{len(rows)} vectors and {len(keys)} ids: give one id per vector")
        if len(np.unique(keys)) != len(keys):
            raise DataError("duplicate ids: give each vector its own")
        if there := self._present(keys).tolist():
            raise DataError(f"{len(there)} ids are already in the index, the first {there[0]}: remove them first")
        if len(keys):
            self._sorted = None
            self._add(rows, keys)

    def remove(self, ids: ArrayLike) -> int:
        """Remove vectors; unknown ids are ignored. Returns the number removed."""
        keys = self._present(self._keys(ids))
        if len(keys):
            self._sorted = None
            self._remove(keys)
        return len(keys)

    def search(self, queries: ArrayLike, k: int, where: ArrayLike | None = None) -> tuple[Float32Array, Ids]:
        """The k best vectors of each query.

        Args:
            queries: [Q, E].
            k: how many, 1 or more.
            where: ids [M] to search among; None: all. Unknown ids are ignored.

        Returns:
            scores float32 [Q, k], descending, and ids int64 [Q, k]; -inf and -1 if there are fewer than k.

        Raises:
            DataError: wrong shape, NaN or infinity.
            ConfigError: k below 1.
        """
        rows = self._rows(queries)
        if k < 1:
            raise ConfigError(f"k must be >= 1, got {k}")
        among = None if where is None else self._present(self._keys(where))
        scores, ids = np.full((len(rows), k), -np.inf, np.float32), np.full((len(rows), k), -1, np.int64)
        available = min(k, len(self) if among is None else len(among))
        for at in range(0, len(rows) if available else 0, _BATCH):
            batch = slice(at, at + _BATCH)
            scores[batch, :available], ids[batch, :available] = self._search(rows[batch], available, among)
        return scores, ids

    def _present(self, keys: Ids) -> Ids:
        """The keys that are in the index, unique, ascending."""
        if self._sorted is None:
            self._sorted = np.sort(self.ids)
        keys = np.unique(keys)
        at = np.searchsorted(self._sorted, keys)
        at[at == len(self._sorted)] = 0
        return keys[self._sorted[at] == keys] if len(self._sorted) else keys[:0]

    def _rows(self, vectors: ArrayLike) -> NDArray[np.float32]:
        rows = np.ascontiguousarray(vectors, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise DataError(f"vectors must be [N, {self.dim}], got {rows.shape}: check the encoder")
        if not np.isfinite(rows).all():
            raise DataError(f"vector {int((~np.isfinite(rows).all(1)).argmax())} holds NaN or infinity: embed it again")
        return rows

    def _keys(self, ids: ArrayLike) -> Ids:
        keys = np.asarray(ids)
        if keys.size == 0:
            return np.zeros(0, np.int64)
        if keys.ndim != 1 or not np.issubdtype(keys.dtype, np.integer) or keys.min() < 0:
            raise DataError(
                f"ids must be non-negative integers, one per vector, got shape {keys.shape} and type {keys.dtype}"
            )
        return keys.astype(np.int64)


def top_k(scores: NDArray[Any], ids: Ids, k: int) -> tuple[Float32Array, Ids]:
    """The top k of scores [Q, M] with ids [Q, M] or [M]: descending by score at six decimals, then ascending by id."""
    rounded = np.round(np.asarray(scores, np.float64), DECIMALS)
    names = np.broadcast_to(ids, rounded.shape)
    order = np.lexsort((names, -rounded), axis=-1)[:, :k]
    return np.take_along_axis(rounded, order, 1).astype(np.float32), np.take_along_axis(names, order, 1)
