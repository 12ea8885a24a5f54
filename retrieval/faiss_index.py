"""FAISS behind the contract: vectors by row in a FAISS index, ids by row in an array.

FAISS accepts duplicate ids, answers NaN with -1, orders ties by thread timing, and returns fewer results than asked
for without a word. `Index` refuses the first two; here candidates are scored again in float64 from what the index
stores and ordered by id, and what a search by approximation cannot fill is filled by an exhaustive one.

A removed row keeps its place, with id -1, until the index is built again. Filters become bitmaps over rows.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.retrieval.base import DECIMALS, Ids, Selection, dots, top_k
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.faiss_rows import FEW, Rows, threads
from surgvl.retrieval.gpu import MOST, GpuCopy, is_used, last_line
from surgvl.retrieval.index_config import Device

# Rows decoded at once, which bounds memory: 32 MB of float64 at 512 dimensions.
BLOCK = 8192
# Share of the rows from which on a filter leaves so little out that a search needs no more effort.
_WIDE = 0.8
# FAISS sums in float32: scores this close may be in either order.
NEAR = 2 * 10.0**-DECIMALS


class FaissIndex(BulkIndex):
    """What all FAISS backends share: ids, removal, filters, files. A subclass creates, trains and searches."""

    KIND: ClassVar[Any]
    """FAISS' class."""
    MAPPED: ClassVar[int] = faiss.IO_FLAG_MMAP_IFC
    """How FAISS maps a file of it."""
    SUFFIX: ClassVar[str] = "faiss"
    HAS_GPU: ClassVar[bool] = False
    """Whether FAISS has a counterpart on a GPU."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._index: Any = None
        self._file: Any = None
        self._row_ids: Ids = np.zeros(0, np.int64)
        self._num_alive = 0
        # Where the index was mapped from; FAISS aborts the process when a mapped index grows.
        self._mapped: Path | None = None
        self._alive: Rows | None = None
        self._copy: GpuCopy | None = None
        # Ids, ascending, with those of rows that were removed since, and the row of each.
        self._by_id: tuple[Ids, NDArray[np.int64]] | None = None

    @abstractmethod
    def _create(self, vectors: NDArray[np.float32]) -> Any:
        """A trained, empty FAISS index for vectors like these."""

    @abstractmethod
    def _find(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> NDArray[np.int64]:
        """Candidate rows int64 [Q, k or more], -1 where the index found no more."""

    def _scan_limit(self, k: int) -> int:
        """Up to how many rows are decoded and compared, because `_find` would return most of them anyway."""
        return max(1000, 4 * k)

    @property
    def ids(self) -> Ids:
        """All ids, int64 [N], in the order of their rows."""
        return self._row_ids[self._row_ids >= 0]

    def __len__(self) -> int:
        return self._num_alive

    @property
    def num_removed(self) -> int:
        """Removed vectors that still take space."""
        return len(self._row_ids) - self._num_alive

    def train(self, vectors: NDArray[np.float32]) -> None:
        """Learn lists and quantisers from vectors [N, E]; the first `add` does so if nobody did before.

        Raises:
            DataError: the index already holds vectors.
        """
        if len(self._row_ids):
            raise DataError("the index already holds vectors: train before adding them")
        self._index = self._create(self._rows(vectors))

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        if self._mapped is not None:
            whole = self.load(self._mapped)
            self._index, self._file, self._mapped = whole._index, whole._file, None
        if self._index is None:
            self._index = self._create(vectors)
        self._index.add(vectors)
        self._row_ids = np.concatenate([self._row_ids, ids])
        self._num_alive += len(ids)
        self._alive = self._by_id = self._copy = None

    def place(self, device: Device) -> None:
        """See BulkIndex."""
        if self.HAS_GPU and self._index is not None and is_used(device, len(self)):
            self._copy = GpuCopy(self._index)

    def _near(self, queries: NDArray[np.float32], k: int, among: Rows | None, parameters: Any) -> tuple[Any, Any]:
        """What FAISS finds: scores [Q, k] and rows [Q, k]."""
        if self._copy is not None and among is None and k <= MOST:
            return self._copy.search(queries, k, parameters)
        if among is not None:
            # The selector must outlive the search: FAISS keeps a raw pointer.
            selector = among.selector
            parameters.sel = selector
        scores, rows = self._index.search(queries, k, params=parameters)
        return scores, rows

    def _remove(self, ids: Ids) -> None:
        rows = self._rows_of(ids)
        self._row_ids = self._row_ids.copy()
        self._row_ids[rows] = -1
        self._num_alive -= len(ids)
        self._alive = None

    def _rows_of(self, ids: Ids) -> NDArray[np.int64]:
        """Rows int64 [M] of ids [M], -1 where the index does not have them."""
        if not len(self._row_ids):
            return np.full(len(ids), -1, np.int64)
        if self._by_id is None:
            order = np.argsort(self._row_ids)
            self._by_id = self._row_ids[order], order
        ascending, order = self._by_id
        rows = order[np.minimum(np.searchsorted(ascending, ids), len(order) - 1)]
        return np.asarray(np.where(self._row_ids[rows] == ids, rows, -1), np.int64)

    def has(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """See Index."""
        return self._rows_of(self._keys(ids)) >= 0

    def _prepare(self, ids: Ids) -> Rows:
        return Rows.of(self._rows_of(ids), len(self._row_ids))

    def _search(self, queries: NDArray[np.float32], k: int, where: Selection | None) -> tuple[Float32Array, Ids]:
        among = self._considered(where)
        if (len(self) if among is None else len(among.rows)) <= self._scan_limit(k):
            return self._scan(queries, k, among)
        with threads(1 if len(queries) < FEW else None):
            found = self._find(queries, k, among)
        scores, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        full = (found >= 0).sum(1) >= k
        if not full.all():
            scores[~full], ids[~full] = self._scan(queries[~full], k, among)
        if full.any():
            rows = found[full]
            exact = self._exact(queries[full], np.maximum(rows, 0))
            scores[full], ids[full] = top_k(np.where(rows < 0, -np.inf, exact), self._row_ids[rows], k)
        return scores, ids

    def _considered(self, where: Selection | None) -> Rows | None:
        """The rows of a selection, or all that are not removed; None: every row."""
        if where is not None or not self.num_removed:
            return None if where is None else where.prepared
        if self._alive is None:
            self._alive = Rows.of(np.flatnonzero(self._row_ids >= 0), len(self._row_ids))
        return self._alive

    def _share(self, among: Rows | None) -> float:
        """Share of the rows that a search considers, by which it needs more effort; 1 where few are left out."""
        share = 1.0 if among is None else len(among.rows) / len(self._row_ids)
        return share if share < _WIDE else 1.0

    def _exact(self, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> Float32Array:
        """Scores [Q, M] of queries with the vectors of their own rows [Q, M]."""
        return dots(queries, self._decode(rows.ravel()).reshape(*rows.shape, self.dim))

    def scores(self, query: ArrayLike, ids: ArrayLike) -> Float32Array:
        """See Index."""
        row, rows = self._rows(np.asarray(query, np.float32)[None])[0], self._known(ids)
        return self._row_scores(row, rows) if len(rows) else np.zeros(0, np.float32)

    def _row_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Float32Array:
        """Scores float32 [M] of a query [E] with rows [M]."""
        blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
        return np.concatenate([dots(query[None], self._decode(block))[0] for block in blocks])

    def _scan(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> tuple[Float32Array, Ids]:
        """The k best of all rows that are considered, compared one by one."""
        rows = np.arange(len(self._row_ids)) if among is None else among.rows
        scores, ids = np.full((len(queries), 0), -np.inf, np.float32), np.full((len(queries), 0), -1, np.int64)
        for at in range(0, len(rows), BLOCK):
            block = rows[at : at + BLOCK]
            vectors = self._decode(block)
            if len(block) > k:
                rough = queries @ vectors.T
                least = np.partition(rough, len(block) - k, axis=1)[:, [len(block) - k]]
                near = (rough >= least - NEAR * np.maximum(1, np.abs(least))).any(0)
                block, vectors = block[near], vectors[near]
            more = dots(queries, vectors)
            some = np.broadcast_to(self._row_ids[block], more.shape)
            scores, ids = top_k(np.concatenate([scores, more], 1), np.concatenate([ids, some], 1), k)
        return scores, ids

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors float32 [M, E] of rows, as far as the index stores them."""
        flat = self._index.reconstruct_batch(np.ascontiguousarray(rows))
        return np.asarray(flat, np.float32).reshape(len(rows), self.dim)

    def vectors_of(self, ids: ArrayLike) -> NDArray[np.float32]:
        """See Index."""
        rows = self._known(ids)
        return self._decode(rows) if len(rows) else np.zeros((0, self.dim), np.float32)

    def _known(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Rows [M] of ids [M], all in the index.

        Raises:
            DataError: one is not.
        """
        keys = self._keys(ids)
        rows = self._rows_of(keys)
        if len(unknown := keys[rows < 0]):
            raise DataError(f"id {unknown[0]} is not in the index: add it first")
        return rows

    def save(self, path: Path | str) -> None:
        """See Index."""
        # FAISS wraps empty indexes only.
        stored = faiss.IndexIDMap(empty := faiss.IndexFlatIP(self.dim))
        stored.index = empty if self._index is None else self._index
        faiss.copy_array_to_vector(self._row_ids, stored.id_map)
        stored.ntotal = len(self._row_ids)
        with atomic(path) as temporary:
            try:
                faiss.write_index(stored, str(temporary))
                self._write_more(temporary)
            except RuntimeError as error:
                raise DataError(
                    f"{path} cannot be written ({last_line(error)}): check disk space and permissions"
                ) from error

    @classmethod
    def load(cls, path: Path | str, is_mapped: bool = False) -> Self:
        """See Index.

        Args:
            path: the file.
            is_mapped: leave the bulk of it on disk, and read what searches touch. FAISS does not check the length of
                a mapped file: it must be known to be whole, and stay as it is while the index lives.
        """
        flags = cls.MAPPED if is_mapped else 0
        try:
            stored = faiss.read_index(str(path), flags)
        except RuntimeError as error:
            raise DataError(f"{path} is not a FAISS index ({last_line(error)}): rebuild it") from error
        if not isinstance(stored, faiss.IndexIDMap) or stored.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise DataError(f"{path} holds a {type(stored).__name__}, not inner products by id: rebuild it")
        index, inner = cls(stored.d), faiss.downcast_index(stored.index)
        index._row_ids = np.asarray(faiss.vector_to_array(stored.id_map), np.int64)
        index._num_alive = int((index._row_ids >= 0).sum())
        if len(index._row_ids):
            if not isinstance(inner, cls.KIND):
                raise DataError(f"{path} holds a {type(inner).__name__}, not a {cls.KIND.__name__}: rebuild it")
            # `stored` owns what is inside.
            index._index, index._file, index._mapped = inner, stored, Path(path) if is_mapped else None
            index._read_more(Path(path), is_mapped)
        return index

    def _write_more(self, path: Path) -> None:
        """Append to the file what FAISS does not store."""

    def _read_more(self, path: Path, is_mapped: bool) -> None:
        """Read what `_write_more` appended, and prepare the index.

        Raises:
            DataError: it is not there.
        """
