"""FAISS' flat inner-product index with ids (`IDMap2,Flat`): exact, 1 KiB for a vector of 256, good to a million.

FAISS accepts duplicate ids, answers NaN with -1 and orders ties by thread timing; `Index` refuses the first two, and
here candidates are rescored in float64, and more are fetched until all ties of the last result are among them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.retrieval.base import DECIMALS, Ids, Index, top_k

_MARGIN = 16
# Below this many queries the scan is memory-bound: more threads gain nothing and, on a busy machine, wait at OpenMP's
# barrier (measured: 30 ms instead of 3.5 for one query of 100,000 vectors).
_FEW = 20
# FAISS sums in float32: scores this close may be in either order.
_NEAR = 2 * 10.0**-DECIMALS


class FaissFlat(Index):
    """Exact search; removal and filtering by ids."""

    name: ClassVar[str] = "faiss_flat"

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._index: Any = faiss.index_factory(dim, "IDMap2,Flat", faiss.METRIC_INNER_PRODUCT)

    @property
    def ids(self) -> Ids:
        """All ids, int64 [N], in FAISS' order."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), np.int64)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        self._index.add_with_ids(vectors, ids)

    def _remove(self, ids: Ids) -> None:
        self._index.remove_ids(faiss.IDSelectorBatch(ids))

    def _search(self, queries: NDArray[np.float32], k: int, where: Ids | None) -> tuple[Float32Array, Ids]:
        total = len(self) if where is None else len(where)
        # The selector must outlive the search: FAISS keeps a raw pointer.
        selector = None if where is None else faiss.IDSelectorBatch(where)
        parameters: Any = None
        if selector is not None:
            parameters = faiss.SearchParameters()
            parameters.sel = selector
        found_scores = np.empty((len(queries), k), np.float32)
        found_ids = np.empty((len(queries), k), np.int64)
        open_rows = np.arange(len(queries))
        fetch = min(total, k + _MARGIN)
        while len(open_rows):
            with _threads(1 if len(open_rows) < _FEW else None):
                rough, ids = self._index.search(queries[open_rows], fetch, params=parameters)
            scores = np.einsum("qe,qme->qm", queries[open_rows], self._gather(ids), dtype=np.float64)
            done = np.full(len(open_rows), fetch == total)
            done |= rough[:, -1] < rough[:, k - 1] - _NEAR * np.maximum(1, np.abs(rough[:, k - 1]))
            found_scores[open_rows[done]], found_ids[open_rows[done]] = top_k(scores[done], ids[done], k)
            open_rows, fetch = open_rows[~done], min(total, fetch * 4)
        return found_scores, found_ids

    def _gather(self, ids: Ids) -> NDArray[np.float32]:
        flat = self._index.reconstruct_batch(ids.ravel())
        return np.asarray(flat, np.float32).reshape(*ids.shape, self.dim)

    def vectors_of(self, ids: ArrayLike) -> NDArray[np.float32]:
        """See Index."""
        keys = self._keys(ids)
        if absent := np.setdiff1d(keys, self._present(keys)).tolist():
            raise DataError(f"id {absent[0]} is not in the index: add it first")
        return self._gather(keys)

    def save(self, path: Path | str) -> None:
        """See Index."""
        with atomic(path) as temporary:
            try:
                faiss.write_index(self._index, str(temporary))
            except RuntimeError as error:
                raise DataError(
                    f"{path} cannot be written ({_first_line(error)}): check disk space and permissions"
                ) from error

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """See Index."""
        try:
            stored = faiss.read_index(str(path))
        except RuntimeError as error:
            raise DataError(f"{path} is not a FAISS index ({_first_line(error)}): rebuild it") from error
        if not isinstance(stored, faiss.IndexIDMap2) or stored.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise DataError(f"{path} holds a {type(stored).__name__}, not IDMap2,Flat with inner products: rebuild it")
        index = cls(stored.d)
        index._index = stored
        return index


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Set the number of FAISS threads, None: unchanged; the setting belongs to the calling thread."""
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(number or before)
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[-1].strip()
