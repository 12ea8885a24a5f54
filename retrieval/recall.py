"""Recall@10 of an index on queries that it does not hold, and the least effort that surely reaches what is wanted.

Queries are clips, each searched among the recordings of other folds, because a clip's own neighbours are easy to find;
and, where there are any, sentences: quantised indexes that serve clips well can serve sentences badly.

A mean over queries is itself uncertain, and the least effort whose mean reaches a value is often one that was lucky. So
an effort counts by a lower confidence bound of its mean (normal approximation; standard errors by recording, as the
clips of one are alike: Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference, 2015).

Shape letters: N vectors, Q queries, E dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from surgvl.retrieval.base import Ids
from surgvl.retrieval.bulk_index import BulkIndex

K = 10
# Queries of each kind: a mean of so many has a standard error of about 0.003.
NUM_QUERIES = 1000
# Folds of recordings, and the largest share of the vectors that one recording of a fold may have.
_FOLDS, _HELD_SHARE = 10, 0.1
# Recordings below which their number says nothing about how much means vary.
_FEW = 5
# Standard errors below the mean: the true mean is above in 99 of 100 cases.
_SURE = 2.33
# More effort that adds less recall than this is not worth its time, or, where what is wanted is missed, is hopeless.
_LITTLE, _NOTHING = 0.002, 0.0002
# Vectors compared at once.
_AT_ONCE = 20_000


@dataclass(frozen=True)
class Recall:
    """A measured recall.

    Attributes:
        mean: over the queries.
        lower: the true mean is above this with 99 % confidence.
        num: of queries.
    """

    mean: float
    lower: float
    num: int

    @classmethod
    def of(cls, values: NDArray[np.float64], groups: NDArray[np.int64]) -> Self:
        """Of queries with recall `values` [Q], of recordings or sentences `groups` [Q]."""
        names, group = np.unique(groups, return_inverse=True)
        sums = np.bincount(group, values - values.mean())
        error = np.sqrt((sums**2).sum() * len(names) / max(1, len(names) - 1)) / len(values)
        return cls(float(values.mean()), float(values.mean() - _SURE * error), len(values))

    def reaches(self, wanted: float) -> bool:
        """Whether it surely is at least `wanted`; where there are too few queries to be sure of much, by its mean."""
        return (self.lower if self.num >= NUM_QUERIES else self.mean) >= wanted


@dataclass(frozen=True)
class Fold:
    """Queries that are searched among the same vectors.

    Attributes:
        vectors: float32 [Q, E].
        groups: int64 [Q], recording or sentence of each.
        among: ids that are searched; None: all.
        found: int64 [Q, K], what exact search finds.
    """

    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]
    among: Ids | None
    found: Ids


def held_out(
    vectors: NDArray[np.float32],
    ids: Ids,
    recordings: Ids | None,
    texts: NDArray[np.float32] | None,
    num: int = NUM_QUERIES,
) -> dict[str, list[Fold]]:
    """Queries by kind, `clip` and `text`.

    Args:
        vectors: of the index, float32 [N, E].
        ids: int64 [N].
        recordings: which recording each vector is of, int64 [N]; None: unknown.
        texts: of sentences, float32 [T, E].
        num: how many queries of each kind, at most.
    """
    rng = np.random.default_rng(0)
    found: dict[str, list[Fold]] = {"clip": []}
    groups, folds = _folds(len(ids), recordings, rng)
    for at in range(int(folds.max()) + 1):
        held = folds == at
        rows = np.sort(_some(np.flatnonzero(held), max(1, num // (int(folds.max()) + 1)), rng))
        best = exact(vectors[rows], vectors, ids, min(K, int((~held).sum())), ~held)
        found["clip"].append(Fold(vectors[rows], groups[rows], ids[~held], best))
    if texts is not None and len(texts):
        rows = _some(np.arange(len(texts), dtype=np.int64), num, rng)
        some = np.asarray(texts[rows], np.float32)
        found["text"] = [Fold(some, rows, None, exact(some, vectors, ids, min(K, len(ids))))]
    return found


def sample_texts(texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sentences [up to NUM_QUERIES, E] that an index keeps as queries, of T."""
    if len(texts) <= NUM_QUERIES:
        return texts
    return texts[np.sort(_some(np.arange(len(texts), dtype=np.int64), NUM_QUERIES, np.random.default_rng(0)))]


def _some(rows: NDArray[np.int64], num: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.asarray(rng.choice(rows, min(num, len(rows)), replace=False), np.int64)


def _folds(num: int, recordings: Ids | None, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group and fold of each vector [N], -1: never held out; single clips where recordings are few or too large."""
    if recordings is not None:
        names, place, counts = np.unique(recordings, return_inverse=True, return_counts=True)
        small = np.flatnonzero(counts <= _HELD_SHARE * num)
        if len(small) >= _FEW:
            fold = np.full(len(names), -1, np.int64)
            fold[rng.permutation(small)] = np.arange(len(small)) * min(_FOLDS, len(small)) // len(small)
            return place.astype(np.int64), fold[place]
    folds = np.full(num, -1, np.int64)
    folds[_some(np.arange(num, dtype=np.int64), max(1, min(NUM_QUERIES, int(_HELD_SHARE * num))), rng)] = 0
    return np.arange(num, dtype=np.int64), folds


def exact(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], ids: Ids, k: int, among: NDArray[np.bool_] | None = None
) -> Ids:
    """Ids int64 [Q, k] of the k best of N vectors, compared one by one; `among`: which are considered, bool [N]."""
    scores = np.full((len(queries), 0), -np.inf, np.float32)
    found = np.zeros((len(queries), 0), np.int64)
    for at in range(0, len(ids), _AT_ONCE):
        block = slice(at, at + _AT_ONCE)
        names, more = ids[block], queries @ vectors[block].T
        if among is not None:
            more[:, ~among[block]] = -np.inf
        if scores.shape[1] == k:
            # Most blocks have next to nothing that is better than what is there.
            better = (more > scores.min(1, keepdims=True)).any(0)
            names, more = names[better], more[:, better]
        own = _best(more, k)
        scores = np.concatenate([scores, np.take_along_axis(more, own, 1)], 1)
        found = np.concatenate([found, names[own]], 1)
        best = _best(scores, k)
        scores, found = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
    return np.take_along_axis(found, np.argsort(-scores, axis=1), 1)


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns int64 [Q, up to k] of the k best of each row, in no order."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, -k, axis=1)[:, -k:]


def measure(index: BulkIndex, folds: Sequence[Fold]) -> Recall:
    """Share of the K best that the index finds."""
    values: list[float] = []
    for fold in folds:
        found = index.search(fold.vectors, K, fold.among)[1]
        values += [
            len(set(mine) & set(best)) / len(best)
            for mine, best in zip(found.tolist(), fold.found.tolist(), strict=True)
        ]
    return Recall.of(np.array(values), np.concatenate([fold.groups for fold in folds]))


def tuned(index: BulkIndex, queries: dict[str, list[Fold]], wanted: float) -> dict[str, Recall]:
    """Recall by kind at the least effort that surely reaches what is wanted, or beyond which more adds little."""
    recall: dict[str, Recall] = {}
    before = 0.0
    for effort in index.efforts():
        index.effort = effort
        recall = {kind: measure(index, folds) for kind, folds in queries.items()}
        least, is_enough = (
            min(each.mean for each in recall.values()),
            all(each.reaches(wanted) for each in recall.values()),
        )
        if all(each.lower >= wanted for each in recall.values()):
            break
        if least < before + (_LITTLE if is_enough else _NOTHING):
            break
        before = least
    return recall
