"""The contract of a vector index, and `Exact`, the NumPy oracle that every backend must equal up to its stated recall.

Shape letters: N vectors, Q queries, E dimensions. Scores are inner products (cosines, where vectors have unit length),
rounded to six decimals, so that vectors which are equal but for rounding tie; ties are ordered by id. A place that no
vector fills has id -1 and score -inf.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic

Ids = NDArray[np.int64]
DECIMALS = 6
# Queries at a time, which bounds memory.
_BATCH = 256


class Index(ABC):
    """Vectors by int64 id. A subclass stores and searches; this class refuses what does not fit.

    Attributes:
        name: public name of the backend.
        dim: E.
    """

    name: ClassVar[str] = ""

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ConfigError(f"dim {dim} is no width of vectors: give 1 or more")
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
            DataError: an id is not there.
        """

    @abstractmethod
    def save(self, path: Path | str) -> None:
        """Write one file, atomically."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file that `save` wrote.

        Raises:
            DataError: it is absent or not such a file.
        """

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors [N, E] under new ids [N].

        Raises:
            DataError: wrong shape, NaN or infinite values, an id that is negative, twice given or already there.
        """
        rows, keys = self._rows(vectors), self._keys(ids)
        if len(rows) != len(keys):
            raise DataError(f"{len(rows)} vectors and {len(keys)} ids: give one id for each vector")
        if len(np.unique(keys)) != len(keys):
            raise DataError("an id is given twice: each vector has its own id")
        if there := self._present(keys).tolist():
            raise DataError(f"{len(there)} ids are in the index already, the first {there[0]}: remove them first")
        if len(keys):
            self._sorted = None
            self._add(rows, keys)

    def remove(self, ids: ArrayLike) -> int:
        """Take vectors out; ids that are not there are passed over. Returns how many were taken out."""
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
            where: ids [M] to search among; None for all. Ids that are not there are passed over.

        Returns:
            scores float32 [Q, k], falling, and ids int64 [Q, k]; -inf and -1 where there are fewer than k.

        Raises:
            DataError: wrong shape, NaN or infinite values.
            ConfigError: k below 1.
        """
        rows = self._rows(queries)
        if k < 1:
            raise ConfigError(f"k {k} is no number of neighbours: give 1 or more")
        among = None if where is None else self._present(self._keys(where))
        scores, ids = np.full((len(rows), k), -np.inf, np.float32), np.full((len(rows), k), -1, np.int64)
        available = min(k, len(self) if among is None else len(among))
        for at in range(0, len(rows) if available else 0, _BATCH):
            batch = slice(at, at + _BATCH)
            scores[batch, :available], ids[batch, :available] = self._search(rows[batch], available, among)
        return scores, ids

    def _present(self, keys: Ids) -> Ids:
        """Those of the keys that are in the index, each once, rising."""
        if self._sorted is None:
            self._sorted = np.sort(self.ids)
        keys = np.unique(keys)
        at = np.searchsorted(self._sorted, keys)
        at[at == len(self._sorted)] = 0
        return keys[self._sorted[at] == keys] if len(self._sorted) else keys[:0]

    def _rows(self, vectors: ArrayLike) -> NDArray[np.float32]:
        rows = np.ascontiguousarray(vectors, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise DataError(f"vectors have shape {rows.shape}, the index wants [number, {self.dim}]: check the encoder")
        if not np.isfinite(rows).all():
            raise DataError(f"vector {int((~np.isfinite(rows).all(1)).argmax())} holds NaN or infinity: embed it again")
        return rows

    def _keys(self, ids: ArrayLike) -> Ids:
        keys = np.asarray(ids)
        if keys.size == 0:
            return np.zeros(0, np.int64)
        if keys.ndim != 1 or not np.issubdtype(keys.dtype, np.integer) or keys.min() < 0:
            raise DataError(
                f"ids have shape {keys.shape} and type {keys.dtype}; give whole numbers from 0, one a vector"
            )
        return keys.astype(np.int64)


def best(scores: NDArray[Any], ids: Ids, k: int) -> tuple[Float32Array, Ids]:
    """The k best of scores [Q, M] with ids [Q, M] or [M]: falling by score at six decimals, then rising by id."""
    rounded = np.round(np.asarray(scores, np.float64), DECIMALS)
    names = np.broadcast_to(ids, rounded.shape)
    order = np.lexsort((names, -rounded), axis=-1)[:, :k]
    return np.take_along_axis(rounded, order, 1).astype(np.float32), np.take_along_axis(names, order, 1)


class Exact(Index):
    """Plain NumPy in float64: slow and right."""

    name: ClassVar[str] = "exact"

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._vectors = np.zeros((0, dim), np.float32)
        self._ids = np.zeros(0, np.int64)

    @property
    def ids(self) -> Ids:
        """All ids, int64 [N], in the order they were added."""
        return self._ids

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        self._vectors, self._ids = np.concatenate([self._vectors, vectors]), np.concatenate([self._ids, ids])

    def _remove(self, ids: Ids) -> None:
        kept = ~np.isin(self._ids, ids)
        self._vectors, self._ids = self._vectors[kept], self._ids[kept]

    def _search(self, queries: NDArray[np.float32], k: int, where: Ids | None) -> tuple[Float32Array, Ids]:
        kept = slice(None) if where is None else np.isin(self._ids, where)
        return best(queries.astype(np.float64) @ self._vectors[kept].astype(np.float64).T, self._ids[kept], k)

    def vectors_of(self, ids: ArrayLike) -> NDArray[np.float32]:
        """See Index."""
        place = {name: at for at, name in enumerate(self._ids.tolist())}
        keys = self._keys(ids).tolist()
        if absent := [name for name in keys if name not in place]:
            raise DataError(f"id {absent[0]} is not in the index: add it first")
        return self._vectors[[place[name] for name in keys]]

    def save(self, path: Path | str) -> None:
        """See Index."""
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, vectors=self._vectors, ids=self._ids)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """See Index."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                vectors, ids = arrays["vectors"], arrays["ids"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} is not an exact index ({error}): make it again") from error
        index = cls(vectors.shape[1])
        index.add(vectors, ids)
        return index
