"""Builds the bulk of an index: chooses a backend, measures its recall against exact search, falls back if it misses.

Shape letters: N vectors, E dimensions.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.base import Ids
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.index_config import Backend, IndexConfig
from surgvl.retrieval.recall import Fold, K, Recall, held_out, tuned

# Up to here exact search takes a few milliseconds.
_FLAT = 50_000
# Building a graph takes many minutes beyond this.
_GRAPH = 200_000
# Vectors added between two progress reports.
AT_ONCE = 20_000
# Recall that lists of 7 bits a dimension reach on made vectors of 100,000 and a million clips.
_LISTS = 0.965
LISTS = ("ivf", "ivf_pq")
# Between why an index is of its kind and what was measured.
_SAID = f"; recall@{K} "


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


def choose(count: int, dim: int, config: IndexConfig) -> tuple[Backend, str]:
    """A backend for so many vectors, and why it is chosen."""
    if config.backend != "auto":
        return config.backend, f"{config.backend}: asked for"
    if count <= _FLAT:
        return "flat", f"flat: {count:,} vectors are searched exactly within milliseconds"
    needed = bytes_of("hnsw", count, dim)
    if config.recall > _LISTS and _has_room(count, dim, config):
        return "hnsw", f"hnsw: lists seldom reach a recall of {config.recall:g}; a graph takes {_mb(needed)} of memory"
    why = f"ivf: {count:,} vectors take {_mb(bytes_of('ivf', count, dim))}, mapped from the disk"
    if _is_refined("ivf", config):
        why += f", and {_mb(4 * dim * count)} of full vectors there rank what they find"
    return "ivf", why


def _is_refined(backend: str, config: IndexConfig) -> bool:
    """Whether lists keep full vectors from the start: where it is asked for, and where lists alone seldom suffice."""
    is_needed = config.backend == "auto" and config.recall > _LISTS
    return backend in LISTS and (config.refine or is_needed)


def _has_room(count: int, dim: int, config: IndexConfig) -> bool:
    """Whether a graph may be built: in memory, within minutes, searched on the processor."""
    budget = config.memory_mb * 1_000_000 or _memory() // 2
    return config.device != "gpu" and count <= _GRAPH and bytes_of("hnsw", count, dim) <= budget


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
        config: what is wanted; a backend that was asked for is kept even if it misses the wanted recall.
        texts: vectors of sentences, unit [T, E].
        progress: called with the number of vectors added since the last call.
        num_old: how many of the first vectors progress leaves out.
        recordings: which recording each vector is of, int64 [N]; None: unknown.
    """
    backend, why = choose(len(ids), vectors.shape[1], config)
    # Known from the first backend on that is not exact.
    queries: dict[str, list[Fold]] = {}
    refine = _is_refined(backend, config)
    while True:
        stored = replace(config, backend=backend, refine=refine) if backend in LISTS else config
        index = BACKENDS[backend].create(vectors.shape[1], stored)
        index.train(vectors)
        for at in range(0, len(ids), AT_ONCE):
            index.add(vectors[at : at + AT_ONCE], ids[at : at + AT_ONCE])
            if not queries:
                progress(len(ids[max(at, num_old) : at + AT_ONCE]))
        if index.is_exact:
            return Built(index, backend, why)
        queries = queries or held_out(vectors, ids, recordings, texts)
        found = tuned(index, queries, config.recall)
        words, is_reached = _told(found, config.recall)
        if is_reached or config.backend != "auto":
            recall = {kind: each.mean for kind, each in found.items()}
            return Built(index, backend, f"{why}{_SAID}{words}", recall)
        missed = f"{backend}{' with full vectors' if refine else ''} reaches recall@{K} {words}"
        if backend == "ivf" and _has_room(len(ids), vectors.shape[1], config):
            backend, refine, other = "hnsw", False, "hnsw"
        elif backend == "ivf" and not refine:
            refine, other = True, "ivf with full vectors on disk"
        else:
            backend, refine, other = "flat", False, "flat"
        why = f"{other}: {missed}"


def _told(found: dict[str, Recall], wanted: float) -> tuple[str, bool]:
    """What was measured in words, and whether it reaches what is wanted."""
    words = " and ".join(f"{each.mean:.3f} for {kind} queries" for kind, each in found.items())
    words += f", surely {max(0.0, min(each.lower for each in found.values())):.3f}"
    is_reached = all(each.reaches(wanted) for each in found.values())
    return words + ("" if is_reached else f", below the {wanted:g} wanted"), is_reached


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _mb(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
