"""FAISS' flat inner-product index: exact, 4 bytes a dimension; the choice up to tens of thousands of vectors.

FAISS orders ties by thread timing: candidates are scored again in float64, and more are fetched until all ties of the
last result are among them.
"""

from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float32Array
from surgvl.retrieval.base import Ids, Selection, top_k
from surgvl.retrieval.faiss_index import NEAR, FaissIndex
from surgvl.retrieval.faiss_rows import FEW, Rows, threads

_MARGIN = 16


class FaissFlat(FaissIndex):
    """Exact search."""

    name: ClassVar[str] = "faiss_flat"
    KIND: ClassVar[Any] = faiss.IndexFlat
    HAS_GPU: ClassVar[bool] = True

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See FaissIndex."""
        return 4 * dim + 8

    def _create(self, vectors: NDArray[np.float32]) -> Any:
        return faiss.IndexFlatIP(self.dim)

    def _search(self, queries: NDArray[np.float32], k: int, where: Selection | None) -> tuple[Float32Array, Ids]:
        among = self._considered(where)
        total = len(self) if among is None else len(among.rows)
        if among is not None and total <= self._scan_limit(k):
            return self._scan(queries, k, among)
        found_scores = np.empty((len(queries), k), np.float32)
        found_ids = np.empty((len(queries), k), np.int64)
        open_rows = np.arange(len(queries))
        fetch = min(total, k + _MARGIN)
        while len(open_rows):
            with threads(1 if len(open_rows) < FEW else None):
                rough, rows = self._near(queries[open_rows], fetch, among, faiss.SearchParameters())
            scores = self._exact(queries[open_rows], rows)
            done = np.full(len(open_rows), fetch == total)
            done |= rough[:, -1] < rough[:, k - 1] - NEAR * np.maximum(1, np.abs(rough[:, k - 1]))
            found_scores[open_rows[done]], found_ids[open_rows[done]] = top_k(
                scores[done], self._row_ids[rows[done]], k
            )
            open_rows, fetch = open_rows[~done], min(total, fetch * 4)
        return found_scores, found_ids

    def _find(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> NDArray[np.int64]:
        return np.asarray(self._near(queries, k, among, faiss.SearchParameters())[1], np.int64)

    def save(self, path: Path | str) -> None:
        """See Index. Removed vectors are left out."""
        if self.num_removed:
            kept = self.ids
            vectors, self._index, self._mapped = self.vectors_of(kept), None, None
            self._row_ids, self._num_alive = np.zeros(0, np.int64), 0
            self._sorted = None
            self._add(vectors, kept)
        super().save(path)
