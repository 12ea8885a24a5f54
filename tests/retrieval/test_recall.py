"""Measured recall: its oracle, its queries, its bound, and what an index that was tuned by it does on other queries."""

from typing import Any

import faiss
import numpy as np
import pytest

from surgvl.retrieval import auto, recall
from surgvl.retrieval.faiss_ivf import FaissIvf
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.recall import NUM_QUERIES, Recall, exact, held_out
from tests.helpers.made_vectors import DIM, footage, sentences, unit


def made(num: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return unit(rng, num, DIM), rng.permutation(num).astype(np.int64)


def test_exact_truth_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, ids = made(300)
    queries, among = unit(np.random.default_rng(1), 5, DIM), np.arange(300) % 3 > 0
    want = [ids[np.argsort(-(vectors @ query))[:7]].tolist() for query in queries]
    left = [ids[among][np.argsort(-(vectors[among] @ query))[:7]].tolist() for query in queries]
    for at_once in (20_000, 10, 3):
        monkeypatch.setattr(recall, "_AT_ONCE", at_once)
        assert exact(queries, vectors, ids, 7).tolist() == want
        assert exact(queries, vectors, ids, 7, among).tolist() == left


@pytest.mark.slow
def test_clips_are_searched_among_the_recordings_of_other_folds() -> None:
    vectors, ids = made(3000)
    recordings = np.arange(3000) // 30
    folds = held_out(vectors, ids, recordings, None)["clip"]
    assert len(folds) == 10
    assert sum(len(fold.vectors) for fold in folds) == NUM_QUERIES
    groups = np.concatenate([fold.groups for fold in folds])
    assert len(set(groups.tolist())) == 100
    for fold in folds:
        assert fold.among is not None
        left = np.isin(ids, fold.among)
        # Ten of a hundred recordings.
        assert (~left).sum() == 300
        assert not set(recordings[~left]) & set(recordings[left])
        for query, group, found in zip(fold.vectors, fold.groups, fold.found, strict=True):
            assert recordings[(vectors == query).all(1)].tolist() == [group]
            assert found.tolist() == ids[left][np.argsort(-(vectors[left] @ query))[:10]].tolist()


@pytest.mark.parametrize("recordings", [None, np.zeros(3000, np.int64), np.arange(3000) // 1000])
def test_single_clips_are_left_out_where_recordings_are_few(recordings: Any) -> None:
    vectors, ids = made(3000)
    (fold,) = held_out(vectors, ids, recordings, None)["clip"]
    assert fold.among is not None
    assert len(fold.vectors) == len(set(fold.groups.tolist())) == 3000 - len(fold.among) == 300


@pytest.mark.slow
def test_the_bound_is_below_the_true_mean_in_99_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    below, naive = 0, 0
    for _ in range(1000):
        # 40 recordings of 25 clips that share much of their luck; the true mean is 0.9.
        luck = np.repeat(rng.normal(0, 0.05, 40), 25)
        values, groups = 0.9 + luck + rng.normal(0, 0.05, 1000), np.repeat(np.arange(40), 25)
        found = Recall.of(values, groups)
        assert found.mean == pytest.approx(values.mean())
        below += found.lower < 0.9
        naive += Recall.of(values, np.arange(1000)).lower < 0.9
    assert 970 <= below <= 998
    # As if each clip were independent.
    assert naive < 900


def test_few_queries_count_by_their_mean() -> None:
    few, many = (Recall.of(np.repeat([0.875, 1.0], num), np.arange(2 * num)) for num in (10, 500))
    assert few.mean == many.mean == 0.9375
    # 2.33 standard errors of 0.0625 / sqrt(1000) are 0.0046.
    assert few.lower < many.lower < 0.9375
    assert few.reaches(0.9375)
    assert many.reaches(0.932)
    assert not many.reaches(0.934)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "wanted"), [(0, 0.8), (1, 0.9)])
def test_other_queries_find_at_least_what_is_wanted(monkeypatch: pytest.MonkeyPatch, seed: int, wanted: float) -> None:
    # Lists are searched, as in an index of a million.
    monkeypatch.setattr(FaissIvf, "_scan_limit", lambda self, k: 10)
    vectors, ids = footage(6000, 32, seed), np.arange(6000)
    config = IndexConfig(backend="ivf", recall=wanted)
    built = auto.build(vectors, ids, config, sentences(vectors, 1000, seed), recordings=ids // 200)
    assert built.index.effort < max(built.index.efforts())
    others = np.random.default_rng(seed).permutation(footage(6000, 32, 100 + seed))[:1000]
    reached = {}
    for kind, queries in (("clip", others), ("text", sentences(vectors, 1000, 100 + seed))):
        found = built.index.search(queries, 10)[1]
        _, want = faiss.knn(queries, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)
        hits = [len(set(mine) & set(best)) for mine, best in zip(found.tolist(), want.tolist(), strict=True)]
        reached[kind] = np.mean(hits) / 10
    assert min(reached.values()) >= wanted
    # And not by so much that time is wasted.
    assert min(reached.values()) < wanted + 0.1
