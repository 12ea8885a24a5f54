"""What backends with inverted lists (IVF) share: vectors with few bits in lists, mapped from the disk.

A vector is stored as its difference from the centre of its list, so that the quantiser's range is that of a scene
rather than of all scenes; the lists whose centres are nearest are scanned. Where an index is refined, it keeps the full
vectors on disk, too: the best candidates are scored again with these, and everything that it gives back is exact.

The file is one of FAISS, followed by what FAISS does not store and eight bytes that say what that is.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.retrieval.base import Ids
from surgvl.retrieval.faiss_index import FaissIndex
from surgvl.retrieval.faiss_rows import Rows
from surgvl.retrieval.full_vectors import FullVectors
from surgvl.retrieval.gpu import MOST
from surgvl.retrieval.index_config import IndexConfig

# Vectors a list is trained on, and rounds of k-means: more change recall by less than its third decimal.
_PER_LIST, _ROUNDS = 40, 10
# Ends a file with full vectors.
_FULL = b"surgvlfv"
# Candidates for each result, and besides: what few bits place further down may be among the best.
_ROUGH, _REFINED, _MORE = 2, 10, 32


class FaissLists(FaissIndex):
    """Approximate search in lists.

    Args:
        dim: E.
        is_refined: keep full vectors on disk, and rank the candidates with them.
    """

    is_exact: ClassVar[bool] = False
    MAPPED: ClassVar[int] = faiss.IO_FLAG_MMAP
    HAS_GPU: ClassVar[bool] = True
    PLAIN: ClassVar[bytes]
    """Eight bytes that end a file without full vectors."""

    def __init__(self, dim: int, is_refined: bool = False) -> None:
        super().__init__(dim)
        self._full = FullVectors(dim) if is_refined else None

    @classmethod
    def create(cls, dim: int, config: IndexConfig) -> Self:
        """See BulkIndex."""
        return cls(dim, config.refine)

    @property
    def is_refined(self) -> bool:
        """Whether full vectors rank the candidates."""
        return self._full is not None

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

    @abstractmethod
    def _quantised(self, centres: Any, num_lists: int, num: int) -> Any:
        """An untrained FAISS index with these centres of lists, for about so many vectors."""

    def _create(self, vectors: NDArray[np.float32]) -> Any:
        num_lists = max(1, int(2 * len(vectors) ** 0.5))
        if num_lists * 2 > len(vectors):
            num_lists = 1
        index = self._quantised(faiss.IndexFlatIP(self.dim), num_lists, len(vectors))
        index.cp.niter, index.cp.min_points_per_centroid = _ROUNDS, 1
        index.nprobe = min(32, num_lists)
        some = min(len(vectors), max(_PER_LIST * num_lists, 1000))
        index.train(vectors[np.sort(np.random.default_rng(0).choice(len(vectors), some, replace=False))])
        index.make_direct_map()
        return index

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        super()._add(vectors, ids)
        if self._full is not None:
            self._full.append(vectors)

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return super()._decode(rows) if self._full is None else self._full.take(rows)

    def _find(self, queries: NDArray[np.float32], k: int, among: Rows | None) -> NDArray[np.int64]:
        share = self._share(among)
        # FAISS takes no more lists than this on a GPU.
        lists = min(self._index.nlist, int(self.effort / share), MOST if self._copy and among is None else 2**31)
        parameters = faiss.SearchParametersIVF(nprobe=lists)  # type: ignore[call-arg]
        num = (_REFINED if self.is_refined else _ROUGH) * k + _MORE
        return np.asarray(self._near(queries, num, among, parameters)[1], np.int64)

    def _write_more(self, path: Path) -> None:
        with path.open("ab") as file:
            if self._full is None:
                self._write_bits(file)
                file.write(self.PLAIN)
            else:
                self._full.write(file)
                file.write(_FULL)

    def _read_more(self, path: Path, is_mapped: bool) -> None:
        end, shape = path.stat().st_size - len(_FULL), (len(self._row_ids), self.dim)
        with path.open("rb") as file:
            file.seek(-len(_FULL), 2)
            kind = file.read()
        if kind == _FULL:
            self._full = FullVectors.mapped(path, end, shape)
        elif kind == self.PLAIN:
            self._read_bits(path, end, is_mapped)
        else:
            raise DataError(f"{path} does not end as an index of inverted lists: rebuild it")
        self._index.make_direct_map()

    def _write_bits(self, file: BinaryIO) -> None:
        """Append what the quantiser lacks, where there are no full vectors."""

    def _read_bits(self, path: Path, end: int, is_mapped: bool) -> None:
        """Read what `_write_bits` wrote, before byte `end`.

        Raises:
            DataError: it is not there.
        """
