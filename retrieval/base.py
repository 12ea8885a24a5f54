"""The contract of a vector index.

Shape letters: N vectors, Q queries, E dimensions. Scores are inner products (cosines of unit vectors), rounded to six
decimals so that vectors equal up to rounding tie; ties are ordered by id. Missing results have id -1 and score -inf.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Selection:
    """Some ids of an index as it was when they were selected, prepared once for many searches.

    Attributes:
        ids: int64 [M], in the index, unique, ascending.
        prepared: what the backend searches by.
    """

    ids: Ids
    prepared: Any


class Index(ABC):
    """Vectors by int64 id. Subclasses store and search; this class validates arguments.

    Attributes:
        name: public name of the backend.
        is_exact: whether it equals `Exact`; others equal it up to their recall, and their vectors up to quantisation.
        dim: E.
    """

    name: ClassVar[str] = ""
    is_exact: ClassVar[bool] = True

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
    def _search(self, queries: NDArray[np.float32], k: int, where: Selection | None) -> tuple[Float32Array, Ids]: ...

    def _prepare(self, ids: Ids) -> Any:
        """What searches among these present ids [M] need."""
        return None

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

    def select(self, ids: ArrayLike) -> Selection:
        """Prepare searches among these ids [M]; unknown ones are ignored. Void once the index changes."""
        present = self._present(self._keys(ids))
        return Selection(present, self._prepare(present))

    def search(
        self, queries: ArrayLike, k: int, where: ArrayLike | Selection | None = None
    ) -> tuple[Float32Array, Ids]:
        """The k best vectors of each query.

        Args:
            queries: [Q, E].
            k: how many, 1 or more.
            where: ids [M] to search among, or a selection of them; None: all. Unknown ids are ignored.

        Returns:
            scores float32 [Q, k], descending, and ids int64 [Q, k]; -inf and -1 if there are fewer than k.

        Raises:
            DataError: wrong shape, NaN or infinity.
            ConfigError: k below 1.
        """
        rows = self._rows(queries)
        if k < 1:
            raise ConfigError(f"k must be >= 1, got {k}")
        among = where if where is None or isinstance(where, Selection) else self.select(where)
        scores, ids = np.full((len(rows), k), -np.inf, np.float32), np.full((len(rows), k), -1, np.int64)
        available = min(k, len(self) if among is None else len(among.ids))
        for at in range(0, len(rows) if available else 0, _BATCH):
            batch = slice(at, at + _BATCH)
            scores[batch, :available], ids[batch, :available] = self._search(rows[batch], available, among)
        return scores, ids

    def scores(self, query: ArrayLike, ids: ArrayLike) -> Float32Array:
        """Scores float32 [M] of a query [E] with the vectors of these ids [M], as `search` gives them.

        Raises:
            DataError: wrong shape, NaN or infinity, or an unknown id.
        """
        row = self._rows(np.asarray(query, np.float32)[None])[0]
        found: Float32Array = dots(row[None], self.vectors_of(ids))[0]
        return found

    def has(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Which of these ids [M] are in the index, bool [M]."""
        keys = self._keys(ids)
        if self._sorted is None:
            self._sorted = np.sort(self.ids)
        if not len(self._sorted):
            return np.zeros(len(keys), bool)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.asarray(self._sorted[at] == keys, bool)

    def _present(self, keys: Ids) -> Ids:
        """The keys that are in the index, unique, ascending."""
        keys = np.unique(keys)
        return keys[self.has(keys)]

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


def dots(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> Float32Array:
    """Inner products float32 [Q, M] of queries [Q, E] and vectors [M, E] or [Q, M, E], in float64, at six decimals."""
    if vectors.ndim == 2:
        products = queries.astype(np.float64) @ vectors.astype(np.float64).T
    else:
        products = np.einsum("qe,qme->qm", queries, vectors, dtype=np.float64)
    return np.round(products, DECIMALS).astype(np.float32)


def top_k(scores: NDArray[Any], ids: Ids, k: int) -> tuple[Float32Array, Ids]:
    """The top k of scores [Q, M] with ids [Q, M] or [M]: descending by score at six decimals, then ascending by id."""
    rounded = np.round(np.asarray(scores, np.float64), DECIMALS)
    names = np.broadcast_to(ids, rounded.shape)
    order = np.lexsort((names, -rounded), axis=-1)[:, :k]
    return np.take_along_axis(rounded, order, 1).astype(np.float32), np.take_along_axis(names, order, 1)
