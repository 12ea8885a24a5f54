"""Inverted lists (IVF) of vectors of 7 bits a dimension, mapped from the disk: millions of vectors.

FAISS scans 6 bits of a vector's difference from the centre of its list; candidates are scored again with a seventh, the
sign of what 6 bits leave, which halves the error, or with full vectors (see `faiss_lists`). At 512 dimensions 6 bits
find 95 % of the ten best of 100,000 vectors, 7 bits 97.5 % and 8 bits 98 %, and 7 bits are what fits into a quarter of
float32.

Not used, because measured: RaBitQ of 6 bits finds what 7 bits find here, but encodes forty times slower and cannot give
vectors back; a projection on fewer dimensions, of 8 bits each, serves clips as well and sentences far worse.

After FAISS' part, the file has the seventh bits, or full vectors.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.retrieval.base import DECIMALS, Ids
from surgvl.retrieval.faiss_index import BLOCK
from surgvl.retrieval.faiss_lists import FaissLists
from surgvl.retrieval.faiss_rows import scores_of_codes

# Share of the values of a dimension that lie beyond the quantiser's range, at either end: single outliers would make
# its steps coarse for all others.
_BEYOND = 0.0005
# Cells of 6 bits across the range of a dimension, as FAISS counts them.
_CELLS = 63


class FaissIvf(FaissLists):
    """Approximate search in lists of scalars."""

    name: ClassVar[str] = "faiss_ivf"
    KIND: ClassVar[Any] = faiss.IndexIVFScalarQuantizer
    PLAIN: ClassVar[bytes] = b"surgvl7b"

    def __init__(self, dim: int, is_refined: bool = False) -> None:
        super().__init__(dim, is_refined)
        self._bits: NDArray[np.uint8] = np.zeros((0, (dim + 7) // 8), np.uint8)

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See FaissIndex."""
        return 7 * dim // 8 + 16

    def _quantised(self, centres: Any, num_lists: int, num: int) -> Any:
        quantiser = faiss.ScalarQuantizer.QT_6bit
        index = faiss.IndexIVFScalarQuantizer(centres, self.dim, num_lists, quantiser, faiss.METRIC_INNER_PRODUCT)
        index.sq.rangestat, index.sq.rangestat_arg = faiss.ScalarQuantizer.RS_quantiles, _BEYOND
        return index

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        first = len(self._row_ids)
        super()._add(vectors, ids)
        if self.is_refined:
            return
        bits = [self._bits]
        for at in range(0, len(vectors), BLOCK):
            block = vectors[at : at + BLOCK]
            rough = self._index.reconstruct_n(first + at, len(block))
            bits.append(np.packbits(block > rough, axis=1, bitorder="little"))
        self._bits = np.concatenate(bits)

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self.is_refined:
            return super()._decode(rows)
        is_above = np.unpackbits(self._bits[rows], axis=1, count=self.dim, bitorder="little")
        return super()._decode(rows) + (2 * is_above.astype(np.float32) - 1) * self._quarter

    def _row_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Float32Array:
        if self.is_refined:
            return super()._row_scores(query, rows)
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

    def _write_bits(self, file: BinaryIO) -> None:
        np.ascontiguousarray(self._bits).tofile(file)

    def _read_bits(self, path: Path, end: int, is_mapped: bool) -> None:
        shape = (len(self._row_ids), self._bits.shape[1])
        if (start := end - shape[0] * shape[1]) < 0:
            raise DataError(f"{path} ends before its seventh bits: rebuild it")
        bits = np.memmap(path, np.uint8, "r", start, shape)
        self._bits = bits if is_mapped else np.array(bits)
