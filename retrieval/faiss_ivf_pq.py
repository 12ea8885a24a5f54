"""Inverted lists of vectors in products of codes of 4 bits a dimension: an eighth of float32, for many millions.

Product quantisation (Jegou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, 2011): each pair of
dimensions becomes one of 256 pairs that k-means finds; where their number is odd, each becomes one of 16 values. Half
the bits of `faiss_ivf` find fewer of the best, so this is meant to be refined by full vectors.
"""

from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.retrieval.faiss_lists import FaissLists

# Rounds of k-means, and vectors that a code is trained on.
_ROUNDS, _PER_CODE = 10, 64


class FaissIvfPq(FaissLists):
    """Approximate search in lists, in the least memory."""

    name: ClassVar[str] = "faiss_ivf_pq"
    KIND: ClassVar[Any] = faiss.IndexIVFPQ
    PLAIN: ClassVar[bytes] = b"surgvlpq"

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See FaissIndex."""
        return (dim + 1) // 2 + 16

    def _create(self, vectors: NDArray[np.float32]) -> Any:
        # A code of one bit needs two.
        return super()._create(np.repeat(vectors, 2, axis=0) if len(vectors) == 1 else vectors)

    def _quantised(self, centres: Any, num_lists: int, num: int) -> Any:
        pairs, bits = (self.dim // 2, 8) if self.dim % 2 == 0 else (self.dim, 4)
        # k-means needs as many vectors as it finds codes.
        bits = min(bits, max(1, num.bit_length() - 1))
        index = faiss.IndexIVFPQ(centres, self.dim, num_lists, pairs, bits, faiss.METRIC_INNER_PRODUCT)
        rounds = index.pq.cp
        rounds.niter, rounds.min_points_per_centroid, rounds.max_points_per_centroid = _ROUNDS, 1, _PER_CODE
        return index
