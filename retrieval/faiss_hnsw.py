"""A navigable small-world graph (HNSW, arXiv 1603.09320) over float16 vectors: the fastest search, by memory.

FAISS visits no more than `efSearch` candidates, whether or not a filter lets them through, so filtered searches visit
as many more as the filter is narrow; below a fifth of the vectors, all that it lets through are compared.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float32Array
from surgvl.retrieval.base import DECIMALS
from surgvl.retrieval.faiss_index import FaissIndex
from surgvl.retrieval.faiss_rows import Rows, scores_of_codes

# Links of a node; twice as many on the lowest level.
_LINKS = 32
# Candidates when a node is linked; FAISS' default of 40 loses a percent of recall on sentences.
_EF_BUILD = 80
_MARGIN = 16
# Share of the vectors below which the graph is not used.
_NARROW = 0.2


class FaissHnsw(FaissIndex):
    """Approximate search in a graph; the index cannot be larger than memory."""

    name: ClassVar[str] = "faiss_hnsw"
    is_exact: ClassVar[bool] = False
    KIND: ClassVar[Any] = faiss.IndexHNSW

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See FaissIndex."""
        return 2 * dim + 4 * (2 * _LINKS + 2) + 8

    def efforts(self) -> Sequence[int]:
        """Candidates that a search visits."""
        return (32, 64, 128, 256, 512, 1024, 2048)

    @property
    def effort(self) -> int:
        """`efSearch`."""
        return int(self._index.hnsw.efSearch)

    @effort.setter
    def effort(self, value: int) -> None:
        self._index.hnsw.efSearch = value

    def _create(self, vectors: NDArray[np.float32]) -> Any:
        index = faiss.IndexHNSWSQ(self.dim, faiss.ScalarQuantizer.QT_fp16, _LINKS, faiss.METRIC_INNER_PRODUCT)  # type: ignore[arg-type]
        index.hnsw.efConstruction, index.hnsw.efSearch = _EF_BUILD, 64
        index.train(vectors[:1])
        return index

    def _find(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> NDArray[np.int64]:
        share = self._share(among)
        if share < _NARROW:
            index, parameters = self._storage, faiss.SearchParameters()
        else:
            index = self._index
            parameters = faiss.SearchParametersHNSW(  # type: ignore[attr-defined] # its stubs lack it
                efSearch=int(max(self.effort, k + _MARGIN) / share)
            )
        if among is not None:
            # The selector must outlive the search: FAISS keeps a raw pointer.
            selector = among.selector
            parameters.sel = selector
        return np.asarray(index.search(queries, k + _MARGIN, params=parameters)[1], np.int64)

    def _row_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Float32Array:
        codes = faiss.rev_swig_ptr(self._storage.codes.data(), self._storage.codes.size())
        scores = scores_of_codes(self._storage.sq, codes.reshape(-1, self._storage.code_size)[rows], query)
        return np.round(scores.astype(np.float64), DECIMALS).astype(np.float32)

    @property
    def _storage(self) -> Any:
        """The vectors, which FAISS compares one by one."""
        return faiss.downcast_index(self._index.storage)
