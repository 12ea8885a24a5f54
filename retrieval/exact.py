"""Exact search in NumPy: the oracle that every backend must equal up to its stated recall."""

from pathlib import Path
from typing import ClassVar, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.retrieval.base import Ids, Index, Selection, top_k


class Exact(Index):
    """Brute force in float64."""

    name: ClassVar[str] = "exact"

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._vectors = np.zeros((0, dim), np.float32)
        self._ids = np.zeros(0, np.int64)

    @property
    def ids(self) -> Ids:
        """All ids, int64 [N], in insertion order."""
        return self._ids

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        self._vectors, self._ids = np.concatenate([self._vectors, vectors]), np.concatenate([self._ids, ids])

    def _remove(self, ids: Ids) -> None:
        kept = ~np.isin(self._ids, ids)
        self._vectors, self._ids = self._vectors[kept], self._ids[kept]

    def _search(self, queries: NDArray[np.float32], k: int, where: Selection | None) -> tuple[Float32Array, Ids]:
        kept = slice(None) if where is None else np.isin(self._ids, where.ids)
        return top_k(queries.astype(np.float64) @ self._vectors[kept].astype(np.float64).T, self._ids[kept], k)

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
            # NumPy leaves a file open that ends early.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                vectors, ids = arrays["vectors"], arrays["ids"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} is not an exact index ({error}): rebuild it") from error
        index = cls(vectors.shape[1])
        index.add(vectors, ids)
        return index
