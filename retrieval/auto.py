"""Builds the bulk of an index: chooses a back-end, measures its recall against exact search, falls back if it misses.

Recall@10 is measured on clips of recordings that are held out of the search, because a clip's own neighbours are easy
to find, and, where there are any, on sentences: quantised indexes that serve clips well can serve sentences badly.

Shape letters: N vectors, Q queries, E dimensions.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.base import Ids
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.index_config import IndexConfig

# Up to here exact search takes a few milliseconds.
_FLAT = 50_000
# Building a graph takes many minutes beyond this.
_GRAPH = 200_000
K = 10
# Queries of each kind; more would give the same third decimal.
_QUERIES = 200
# Recordings that are held out, and the largest share of the vectors that they may have.
_HELD, _HELD_SHARE = 20, 0.1
# Vectors added between two progress reports, and compared at once.
AT_ONCE = 20_000
# Recall that tuning asks for beyond what is wanted: it is the least on queries that it saw.
_SPARE = 0.015
# More effort that adds less recall than this is not worth its time.
_LITTLE = 0.002
# Recall that lists of 7 bits a dimension reach on made vectors of 100,000 and a million clips.
_LISTS = 0.965


@dataclass(frozen=True)
class Built:
    """A built index.

    Attributes:
        index: the index.
        backend: its kind.
        why: one line.
        recall: measured recall@10 by kind of query, `clip` and `text`; empty for exact search.
    """

    index: BulkIndex
    backend: str
    why: str
    recall: dict[str, float] = field(default_factory=dict)


def bytes_of(backend: str, count: int, dim: int) -> int:
    """About what an index takes in memory."""
    return count * BACKENDS[backend].bytes_per_vector(dim)


def choose(count: int, dim: int, config: IndexConfig) -> tuple[str, str]:
    """A back-end for so many vectors, and why it is chosen."""
    if config.backend != "auto":
        return config.backend, f"{config.backend}: asked for"
    if count <= _FLAT:
        return "flat", f"flat: {count:,} vectors are searched exactly within milliseconds"
    needed = bytes_of("hnsw", count, dim)
    if config.recall > _LISTS and _has_room(count, dim, config):
        return "hnsw", f"hnsw: lists seldom reach a recall of {config.recall:g}; a graph takes {_mb(needed)} of memory"
    return "ivf", f"ivf: {count:,} vectors take {_mb(bytes_of('ivf', count, dim))}, mapped from the disk"


def _has_room(count: int, dim: int, config: IndexConfig) -> bool:
    """Whether a graph may be built: in memory, within minutes."""
    budget = config.memory_mb * 1_000_000 or _memory() // 2
    return count <= _GRAPH and bytes_of("hnsw", count, dim) <= budget


def build(
    vectors: NDArray[np.float32],
    ids: Ids,
    config: IndexConfig,
    texts: NDArray[np.float32] | None = None,
    progress: Callable[[int], object] = lambda added: None,
    num_old: int = 0,
    recordings: Ids | None = None,
) -> Built:
    """Build an index of unit vectors [N, E] and measure it.

    Args:
        vectors: float32 [N, E].
        ids: int64 [N].
        config: what is wanted; a back-end that was asked for is kept even if it misses the wanted recall.
        texts: vectors of sentences, unit [T, E].
        progress: called with the number of vectors added since the last call.
        num_old: how many of the first vectors progress leaves out.
        recordings: which recording each vector is of, int64 [N]; None: unknown.
    """
    backend, why = choose(len(ids), vectors.shape[1], config)
    # Known from the first back-end on that is not exact.
    truth: list[_Queries] = []
    while True:
        index = BACKENDS[backend].create(vectors.shape[1], config)
        index.train(vectors)
        for at in range(0, len(ids), AT_ONCE):
            index.add(vectors[at : at + AT_ONCE], ids[at : at + AT_ONCE])
            if not truth:
                progress(len(ids[max(at, num_old) : at + AT_ONCE]))
        if index.is_exact:
            return Built(index, backend, why)
        truth = truth or _queries(vectors, ids, recordings, texts)
        recall = _tuned(index, truth, config.recall)
        words = " and ".join(f"{value:.3f} for {kind} queries" for kind, value in recall.items())
        if min(recall.values()) >= config.recall or config.backend != "auto":
            missed = "" if min(recall.values()) >= config.recall else f", below the {config.recall:g} wanted"
            return Built(index, backend, f"{why}; recall@{K} {words}{missed}", recall)
        other = "hnsw" if backend == "ivf" and _has_room(len(ids), vectors.shape[1], config) else "flat"
        why = f"{other}: {backend} reaches recall@{K} {words}, below the {config.recall:g} wanted"
        backend = other


@dataclass(frozen=True)
class _Queries:
    """Queries of one kind and what exact search finds.

    Attributes:
        kind: clip or text.
        vectors: float32 [Q, E].
        among: ids that are searched; None: all.
        found: int64 [Q, K].
    """

    kind: str
    vectors: NDArray[np.float32]
    among: Ids | None
    found: Ids


def _queries(
    vectors: NDArray[np.float32], ids: Ids, recordings: Ids | None, texts: NDArray[np.float32] | None
) -> list[_Queries]:
    rng = np.random.default_rng(0)
    held = _held_out(len(ids), recordings, rng)
    rows = rng.choice(np.flatnonzero(held), min(_QUERIES, int(held.sum())), replace=False)
    found = [
        _Queries(
            "clip", vectors[rows], ids[~held], exact(vectors[rows], vectors, ids, min(K, int((~held).sum())), ~held)
        )
    ]
    if texts is not None and len(texts):
        some = np.asarray(texts[rng.choice(len(texts), min(_QUERIES, len(texts)), replace=False)], np.float32)
        found.append(_Queries("text", some, None, exact(some, vectors, ids, K)))
    return found


def _held_out(num: int, recordings: Ids | None, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A few recordings, or single clips where these are much of the index, bool [N]."""
    if recordings is not None:
        names, counts = np.unique(recordings, return_counts=True)
        order = rng.permutation(len(names))[:_HELD]
        order = order[np.cumsum(counts[order]) <= _HELD_SHARE * num]
        if len(order):
            return np.isin(recordings, names[order])
    held = np.zeros(num, bool)
    held[rng.choice(num, max(1, min(_QUERIES, num // 10)), replace=False)] = True
    return held


def exact(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], ids: Ids, k: int, among: NDArray[np.bool_] | None = None
) -> Ids:
    """Ids int64 [Q, k] of the k best of N vectors, compared one by one; `among`: which are considered, bool [N]."""
    scores = np.full((len(queries), 0), -np.inf, np.float32)
    found = np.zeros((len(queries), 0), np.int64)
    for at in range(0, len(ids), AT_ONCE):
        block = slice(at, at + AT_ONCE)
        more = queries @ vectors[block].T
        if among is not None:
            more[:, ~among[block]] = -np.inf
        scores = np.concatenate([scores, more], 1)
        found = np.concatenate([found, np.tile(ids[block], (len(queries), 1))], 1)
        if scores.shape[1] > k:
            best = np.argpartition(-scores, k, axis=1)[:, :k]
            scores, found = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
    return np.take_along_axis(found, np.argsort(-scores, axis=1), 1)


def measure(index: BulkIndex, queries: _Queries) -> float:
    """Share of the K best that the index finds, mean over the queries."""
    found = index.search(queries.vectors, K, queries.among)[1]
    hits = [len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), queries.found.tolist(), strict=True)]
    return float(np.mean(hits))


def _tuned(index: BulkIndex, truth: list[_Queries], wanted: float) -> dict[str, float]:
    """Recall by kind at the least effort that reaches what is wanted, and a little more where that is to be had."""
    recall: dict[str, float] = {}
    before = 0.0
    for effort in index.efforts():
        index.effort = effort
        recall = {queries.kind: measure(index, queries) for queries in truth}
        least = min(recall.values())
        if least >= wanted + _SPARE or wanted <= least < before + _LITTLE:
            break
        before = least
    return recall


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _mb(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
