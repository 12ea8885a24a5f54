"""Some rows of a FAISS index: bitmaps for its searches, and scores of their codes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

# Below this many queries the scan is memory-bound: more threads gain nothing and, on a busy machine, wait at OpenMP's
# barrier (measured: 30 ms instead of 3.5 for one query of 100,000 vectors).
FEW = 20


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that a search considers.

    Attributes:
        rows: int64 [M], ascending.
        bitmap: uint8, bit r of it is row r, lowest bit first; FAISS reads it during the search.
    """

    rows: NDArray[np.int64]
    bitmap: NDArray[np.uint8]

    @classmethod
    def of(cls, rows: NDArray[np.int64], num_rows: int) -> Self:
        """The bitmap of some rows."""
        mask = np.zeros(num_rows, bool)
        mask[rows] = True
        return cls(np.sort(rows), np.packbits(mask, bitorder="little"))

    @property
    def selector(self) -> Any:
        """FAISS' selector; it keeps a raw pointer to the bitmap, so this object must outlive the search."""
        return faiss.IDSelectorBitmap(self.bitmap)  # type: ignore[call-arg, arg-type] # as in the C++ header


def scores_of_codes(quantiser: Any, codes: NDArray[np.uint8], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products float32 [M] of a query [E] with what codes [M, bytes] of a scalar quantiser stand for."""
    some = faiss.IndexScalarQuantizer(len(query), quantiser.qtype, faiss.METRIC_INNER_PRODUCT)
    some.sq, some.is_trained = quantiser, True
    some.add_sa_codes(codes)
    with threads(1):
        scores, found = some.search(query[None], len(codes))
    ordered = np.empty(len(codes), np.float32)
    ordered[found[0]] = scores[0]
    return ordered


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Set the number of FAISS threads, None: unchanged; the setting belongs to the calling thread."""
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(number or before)
        yield
    finally:
        faiss.omp_set_num_threads(before)
