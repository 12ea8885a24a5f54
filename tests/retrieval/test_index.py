"""Index backends against the definition in plain Python, and what they refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surgvl.retrieval
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.registry import discover
from surgvl.retrieval.base import Index
from surgvl.retrieval.exact import Exact
from surgvl.retrieval.faiss_flat import FaissFlat
from tests.helpers.made_vectors import unit

# Milvus needs a server (test_milvus.py).
EVERY = [each for each in discover(surgvl.retrieval, Index).values() if each.name != "milvus"]  # type: ignore[type-abstract]
BACKENDS = [backend for backend in EVERY if backend.is_exact]
backends = pytest.mark.parametrize("backend", BACKENDS, ids=[backend.name for backend in BACKENDS])
every = pytest.mark.parametrize("backend", EVERY, ids=[backend.name for backend in EVERY])


def plain(vectors: Any, ids: Any, query: Any, k: int, where: set[int] | None = None) -> list[tuple[float, int]]:
    """The definition, in Python: rounded inner product falling, id rising."""
    hits = []
    for vector, name in zip(vectors.tolist(), ids.tolist(), strict=True):
        if where is None or name in where:
            hits.append((-round(sum(a * b for a, b in zip(vector, query.tolist(), strict=True)), 6), name))
    return [(-score, name) for score, name in sorted(hits)[:k]]


def test_backends_are_found() -> None:
    assert {"exact", "faiss_flat"} == {backend.name for backend in BACKENDS}
    assert {"faiss_hnsw", "faiss_ivf", "faiss_ivf_pq"} <= {backend.name for backend in EVERY}


@backends
@pytest.mark.parametrize("kind", ["random", "tied", "negative", "not_unit"])
@pytest.mark.parametrize("filtered", [False, True])
def test_search_equals_the_definition(backend: type[Index], kind: str, filtered: bool) -> None:
    rng = np.random.default_rng(len(kind))
    vectors = unit(rng, 150, 8)
    queries = unit(rng, 4, 8)
    if kind == "tied":
        vectors = vectors[rng.integers(0, 3, 150)]
    elif kind == "negative":
        vectors[:, 0], queries[:] = -np.abs(vectors[:, 0]), np.eye(8, dtype=np.float32)[0]
    elif kind == "not_unit":
        vectors *= rng.uniform(0.1, 5, (150, 1)).astype(np.float32)
    ids = rng.permutation(2**62 + np.arange(150)).astype(np.int64)
    where = {int(name) for name in ids[rng.random(150) < 0.3]} if filtered else None
    index = backend(8)
    index.add(vectors[:70], ids[:70])
    index.add(vectors[70:], ids[70:])
    for k in (1, 10, 149):
        scores, found = index.search(queries, k, None if where is None else np.array([*where, 5]))
        for row, query in enumerate(queries):
            want = plain(vectors, ids, query, k, where)
            assert found[row].tolist() == [name for _, name in want] + [-1] * (k - len(want))
            assert scores[row, : len(want)] == pytest.approx([score for score, _ in want], abs=2e-6)
            assert np.isneginf(scores[row, len(want) :]).all()


@pytest.mark.slow
def test_faiss_equals_exact_on_many() -> None:
    rng = np.random.default_rng(3)
    vectors, ids = unit(rng, 5000, 64), rng.permutation(5000)
    # A hundred copies of one clip, as a frozen picture gives them, straddle every cut.
    vectors[rng.choice(5000, 100, replace=False)] = vectors[0]
    one, two = FaissFlat(64), Exact(64)
    for index in (one, two):
        index.add(vectors, ids)
        assert index.remove(ids[1000:2000]) == 1000
        assert len(index) == 4000
    queries = np.concatenate([unit(rng, 290, 64), vectors[:10]])
    for where in (None, ids[::3], ids[:5], np.zeros(0, np.int64)):
        (scores, found), (exact_scores, exact_found) = one.search(queries, 20, where), two.search(queries, 20, where)
        assert np.array_equal(found, exact_found)
        assert np.array_equal(scores, exact_scores)
    assert np.array_equal(one.vectors_of(ids[[7, 3]]), two.vectors_of(ids[[7, 3]]))


@every
def test_index_refuses_what_does_not_fit(backend: type[Index]) -> None:
    index = backend(4)
    eye = np.eye(4, dtype=np.float32)
    index.add(eye[:2], [3, 1])
    nan = eye.copy()
    nan[2, 1] = np.nan
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: index.add(eye[:2], [5, 5]), "duplicate ids"),
        (lambda: index.add(eye[:2], [9, 3]), "the first 3"),
        (lambda: index.add(nan, [5, 6, 7, 8]), "vector 2 holds NaN"),
        (lambda: index.add(eye[:, :3], [5, 6, 7, 8]), r"must be \[N, 4\], got \(4, 3\)"),
        (lambda: index.add(eye[0], [5]), "must be"),
        (lambda: index.add(eye[:1], [5, 6]), "1 vectors and 2 ids"),
        (lambda: index.add(eye[:1], [-1]), "non-negative integers"),
        (lambda: index.add(eye[:1], [1.5]), "non-negative integers"),
        (lambda: index.search(nan, 1), "NaN"),
        (lambda: index.search(eye[:, :2], 1), "must be"),
        (lambda: index.vectors_of([2]), "id 2 is not"),
    ]
    for call, message in cases:
        with pytest.raises(DataError, match=message):
            call()
    with pytest.raises(ConfigError, match="k must be >= 1, got 0"):
        index.search(eye, 0)
    with pytest.raises(ConfigError, match="dim must be >= 1, got 0"):
        backend(0)
    assert sorted(index.ids.tolist()) == [1, 3]


@backends
def test_add_remove_and_search_of_few(backend: type[Index]) -> None:
    index, eye = backend(4), np.eye(4, dtype=np.float32)
    assert index.search(eye, 2)[1].tolist() == [[-1, -1]] * 4
    index.add(eye, [4, 3, 2, 1])
    assert index.remove([3, 3, 99]) == 1
    index.add(-eye[:1], [3])
    assert index.search(eye[:1], 5)[1].tolist() == [[4, 1, 2, 3, -1]]
    assert index.search(eye[:1], 5)[0][0, :4].tolist() == [1, 0, 0, -1]
    assert index.search(np.zeros((0, 4)), 3)[0].shape == (0, 3)


@every
def test_index_file_gives_back_the_index(backend: type[Index], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    index = backend(6)
    index.add(unit(rng, 20, 6), np.arange(20) * 7)
    index.remove([7])
    index.save(tmp_path / "file")
    again = backend.load(tmp_path / "file")
    query = unit(rng, 3, 6)
    assert np.array_equal(again.search(query, 30)[1], index.search(query, 30)[1])
    again.add(query, [1, 2, 3])
    assert len(again) == 22
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").touch()
    (tmp_path / "file").write_bytes(b"not an index at all")
    for path in (tmp_path / name for name in ("file", "absent", "half", "empty")):
        with pytest.raises(DataError, match="rebuild it"):
            backend.load(path)
