"""The vectors of one version of an index folder: a large base and a small, exact delta, searched as one.

Shape letters: N vectors, Q queries, E dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.retrieval.base import Ids, Index, Selection, top_k


@dataclass(frozen=True, eq=False)
class Layers:
    """Indexes that share no id, in the order of their moments; see `Index` for what the methods return and raise."""

    layers: tuple[Index, ...]

    @property
    def ids(self) -> Ids:
        """All ids, int64 [N]."""
        return np.concatenate([np.zeros(0, np.int64), *(layer.ids for layer in self.layers)])

    def __len__(self) -> int:
        return sum(map(len, self.layers))

    def select(self, ids: Ids) -> tuple[Selection, ...]:
        """Prepare searches among these ids."""
        return tuple(layer.select(ids) for layer in self.layers)

    def search(
        self, queries: ArrayLike, k: int, where: tuple[Selection, ...] | None = None
    ) -> tuple[Float32Array, Ids]:
        """The k best of each query: scores float32 [Q, k] and ids int64 [Q, k]."""
        found = [layer.search(queries, k, None if where is None else where[at]) for at, layer in enumerate(self.layers)]
        return top_k(np.concatenate([each[0] for each in found], 1), np.concatenate([each[1] for each in found], 1), k)

    def scores(self, query: ArrayLike, ids: Ids) -> Float32Array:
        """Scores float32 [M] of a query [E] with the vectors of these ids [M]."""
        found = np.empty(len(ids), np.float32)
        for layer, places in self._places(ids):
            found[places] = layer.scores(query, ids[places])
        return found

    def vectors_of(self, ids: Ids) -> NDArray[np.float32]:
        """Stored vectors float32 [M, E] of these ids [M]."""
        found = np.empty((len(ids), self.layers[0].dim), np.float32)
        for layer, places in self._places(ids):
            found[places] = layer.vectors_of(ids[places])
        return found

    def _places(self, ids: Ids) -> list[tuple[Index, NDArray[np.bool_]]]:
        """Which of the ids each layer has; the last one answers for unknown ones."""
        found, left = [], np.ones(len(ids), bool)
        for layer in self.layers[:-1]:
            mine = left & layer.has(ids)
            found.append((layer, mine))
            left &= ~mine
        return [(layer, mine) for layer, mine in [*found, (self.layers[-1], left)] if mine.any()]
