"""Inverted lists (IVF) of scalar-quantised vectors (6 bits a dimension), mapped from the disk: millions of vectors.

A vector is stored as its difference from the centre of its list, so that the quantiser's range is that of a scene
rather than of all scenes. Searches scan the lists whose centres are nearest.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.retrieval.faiss_index import FaissIndex, Rows

# Vectors a list is trained on, and rounds of k-means: more change recall by less than its third decimal.
_PER_LIST, _ROUNDS = 40, 10
_MARGIN = 16


class FaissIvf(FaissIndex):
    """Approximate search in lists."""

    name: ClassVar[str] = "faiss_ivf"
    is_exact: ClassVar[bool] = False
    KIND: ClassVar[Any] = faiss.IndexIVFScalarQuantizer
    MAPPED: ClassVar[int] = faiss.IO_FLAG_MMAP

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See FaissIndex."""
        return 6 * dim // 8 + 16

    def efforts(self) -> Sequence[int]:
        """Lists that a search scans."""
        return [number for number in (8, 16, 32, 64, 128, 256) if number < self._index.nlist] + [self._index.nlist]

    @property
    def effort(self) -> int:
        """`nprobe`."""
        return int(self._index.nprobe)

    @effort.setter
    def effort(self, value: int) -> None:
        self._index.nprobe = value

    def _create(self, vectors: NDArray[np.float32]) -> Any:
        num_lists = max(1, int(2 * len(vectors) ** 0.5))
        if num_lists * 2 > len(vectors):
            num_lists = 1
        centres = faiss.IndexFlatIP(self.dim)
        quantiser = faiss.ScalarQuantizer.QT_6bit
        index = faiss.IndexIVFScalarQuantizer(centres, self.dim, num_lists, quantiser, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.min_points_per_centroid = _ROUNDS, 1
        index.nprobe = min(32, num_lists)
        some = min(len(vectors), max(_PER_LIST * num_lists, 1000))
        index.train(vectors[np.sort(np.random.default_rng(0).choice(len(vectors), some, replace=False))])
        index.set_direct_map_type(faiss.DirectMap.Array)
        return index

    def _opened(self) -> None:
        self._index.make_direct_map()

    def _scan_limit(self, k: int) -> int:
        return max(20_000, 20 * k)

    def _find(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> NDArray[np.int64]:
        share = 1.0 if among is None else len(among.rows) / len(self._row_ids)
        parameters = faiss.SearchParametersIVF(nprobe=min(self._index.nlist, int(self.effort / share)))
        if among is not None:
            # The selector must outlive the search: FAISS keeps a raw pointer.
            selector = among.selector
            parameters.sel = selector
        return np.asarray(self._index.search(queries, k + _MARGIN, params=parameters)[1], np.int64)
