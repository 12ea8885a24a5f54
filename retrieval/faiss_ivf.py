"""Inverted lists (IVF) of vectors of 7 bits a dimension, mapped from the disk: millions of vectors.

A vector is stored as its difference from the centre of its list, so that the quantiser's range is that of a scene
rather than of all scenes. FAISS scans 6 bits of it in the lists whose centres are nearest; candidates are scored again
with a seventh, the sign of what 6 bits leave, which halves the error. At 512 dimensions 6 bits find 95 % of the ten
best of 100,000 vectors, 7 bits 97.5 % and 8 bits 98 %, and 7 bits are what fits into a quarter of float32.

Not used, because measured: RaBitQ of 6 bits finds what 7 bits find here, but encodes forty times slower and cannot give
vectors back; a projection on fewer dimensions, of 8 bits each, serves clips as well and sentences far worse.

The file is one of FAISS, followed by the seventh bits.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.retrieval.base import DECIMALS, Ids
from surgvl.retrieval.faiss_index import BLOCK, FaissIndex
from surgvl.retrieval.faiss_rows import Rows, scores_of_codes
from surgvl.retrieval.gpu import MOST

# Vectors a list is trained on, and rounds of k-means: more change recall by less than its third decimal.
_PER_LIST, _ROUNDS = 40, 10
# Share of the values of a dimension that lie beyond the quantiser's range, at either end: single outliers would make
# its steps coarse for all others.
_BEYOND = 0.0005
# Cells of 6 bits across the range of a dimension, as FAISS counts them.
_CELLS = 63
# Ends the file.
_MAGIC = b"surgvl7b"


class FaissIvf(FaissIndex):
    """Approximate search in lists."""

    name: ClassVar[str] = "faiss_ivf"
    is_exact: ClassVar[bool] = False
    KIND: ClassVar[Any] = faiss.IndexIVFScalarQuantizer
    MAPPED: ClassVar[int] = faiss.IO_FLAG_MMAP
    HAS_GPU: ClassVar[bool] = True

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._bits: NDArray[np.uint8] = np.zeros((0, (dim + 7) // 8), np.uint8)

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See FaissIndex."""
        return 7 * dim // 8 + 16

    def efforts(self) -> Sequence[int]:
        """Lists that a search scans."""
        steps = [8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256]
        return [number for number in steps if number < self._index.nlist] + [self._index.nlist]

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
        index.sq.rangestat, index.sq.rangestat_arg = faiss.ScalarQuantizer.RS_quantiles, _BEYOND
        index.cp.niter, index.cp.min_points_per_centroid = _ROUNDS, 1
        index.nprobe = min(32, num_lists)
        some = min(len(vectors), max(_PER_LIST * num_lists, 1000))
        index.train(vectors[np.sort(np.random.default_rng(0).choice(len(vectors), some, replace=False))])
        index.make_direct_map()
        return index

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        first = len(self._row_ids)
        super()._add(vectors, ids)
        bits = [self._bits]
        for at in range(0, len(vectors), BLOCK):
            block = vectors[at : at + BLOCK]
            rough = self._index.reconstruct_n(first + at, len(block))
            bits.append(np.packbits(block > rough, axis=1, bitorder="little"))
        self._bits = np.concatenate(bits)

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        is_above = np.unpackbits(self._bits[rows], axis=1, count=self.dim, bitorder="little")
        return super()._decode(rows) + (2 * is_above.astype(np.float32) - 1) * self._quarter

    def _find(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> NDArray[np.int64]:
        share = self._share(among)
        # FAISS takes no more lists than this on a GPU.
        lists = min(self._index.nlist, int(self.effort / share), MOST if self._copy and among is None else 2**31)
        parameters = faiss.SearchParametersIVF(nprobe=lists)  # type: ignore[call-arg]
        # What 6 bits place a little further down may be among the best.
        return np.asarray(self._near(queries, 2 * k + 32, among, parameters)[1], np.int64)

    def _row_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Float32Array:
        codes, lists = self._codes_of(rows)
        rough = scores_of_codes(self._index.sq, codes, query).astype(np.float64)
        # Codes are differences from the centres of their lists.
        rough += (self._index.quantizer.reconstruct_n(0, self._index.nlist) @ query)[lists]
        # What the seventh bits add is looked up by the byte: [bytes, 256].
        weights = np.zeros(8 * self._bits.shape[1])
        weights[: self.dim] = query * self._quarter
        signs = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") - 1
        table = (weights.reshape(-1, 8) @ signs.T).astype(np.float32)
        places = self._bits[rows] + np.arange(0, table.size, 256, dtype=np.int32)
        rough += table.ravel().take(places).sum(1, dtype=np.float64)
        return np.round(rough, DECIMALS).astype(np.float32)

    def _codes_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Codes of 6 bits [M, bytes] of rows [M], and the list of each [M]."""
        stored, size = self._index.invlists, self._index.code_size
        places = faiss.rev_swig_ptr(self._index.direct_map.array.data(), len(self._row_ids))[rows]
        # FAISS packs a list and a place in it into one number.
        lists, offsets = places >> 32, places & 0xFFFFFFFF
        codes = np.empty((len(rows), size), np.uint8)
        order = np.argsort(lists, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(lists[order])) + 1, len(order)).tolist()
        for begin, end in pairwise([0, *ends]):
            some = order[begin:end]
            name = int(lists[some[0]])
            whole = faiss.rev_swig_ptr(stored.get_codes(name), size * stored.list_size(name))
            codes[some] = whole.reshape(-1, size)[offsets[some]]
        return codes, lists

    @property
    def _quarter(self) -> NDArray[np.float32]:
        """A quarter of the quantiser's step in each dimension [E]: where the seventh bit places a value."""
        return np.asarray(faiss.vector_to_array(self._index.sq.trained)[self.dim :] / (4 * _CELLS), np.float32)

    def _write_more(self, path: Path) -> None:
        with path.open("ab") as file:
            np.ascontiguousarray(self._bits).tofile(file)
            file.write(_MAGIC)

    def _read_more(self, path: Path, is_mapped: bool) -> None:
        shape = (len(self._row_ids), self._bits.shape[1])
        start = path.stat().st_size - len(_MAGIC) - shape[0] * shape[1]
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), 2)
            if file.read() != _MAGIC or start < 0:
                raise DataError(f"{path} does not end as an index of inverted lists: rebuild it")
        bits = np.memmap(path, np.uint8, "r", start, shape)
        self._bits = bits if is_mapped else np.array(bits)
        self._index.make_direct_map()
