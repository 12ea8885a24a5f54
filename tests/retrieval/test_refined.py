"""Lists that are refined by full vectors against NumPy: recall, exact scores, memory, files, and what `auto` says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval import auto, faiss_ivf_pq, recall
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.faiss_ivf import FaissIvf
from surgvl.retrieval.faiss_ivf_pq import FaissIvfPq
from surgvl.retrieval.faiss_lists import FaissLists
from surgvl.retrieval.faiss_rows import threads
from surgvl.retrieval.folder import read_header
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.recall import NUM_QUERIES, Recall
from tests.helpers.made_vectors import DIM, clips, footage, sentences, unit

NUM, WIDE = 6000, 32
VECTORS = footage(NUM, WIDE)
IDS = np.random.default_rng(1).permutation(NUM * 3)[:NUM].astype(np.int64)
QUERIES = {"clip": footage(1000, WIDE, seed=3)[::10], "text": sentences(VECTORS, 100, seed=2)}
KINDS = [FaissIvf, FaissIvfPq]
kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """FAISS' threads wait for one another where other processes run."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def built(one_thread: None) -> dict[tuple[str, bool], FaissLists]:
    """Both kinds, with and without full vectors, added in two parts."""
    found = {}
    # k-means of few vectors and rounds is good enough, and fast.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss_ivf_pq, "_ROUNDS", 4)
        patch.setattr(faiss_ivf_pq, "_PER_CODE", 8)
        for kind in KINDS:
            for is_refined in (False, True):
                index = kind(WIDE, is_refined)
                index.train(VECTORS)
                index.add(VECTORS[:4000], IDS[:4000])
                index.add(VECTORS[4000:], IDS[4000:])
                index.effort = 64
                found[kind.name, is_refined] = index
    return found


@pytest.fixture(autouse=True)
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are searched, as in an index of a million."""
    monkeypatch.setattr(FaissLists, "_scan_limit", lambda self, k: 10)


def share_found(index: FaissLists, queries: Any, where: Any = None) -> float:
    """Recall@10 by NumPy."""
    kept = np.ones(NUM, bool) if where is None else np.isin(IDS, where)
    want = IDS[kept][np.argsort(-(queries @ VECTORS[kept].T), axis=1)[:, :10]]
    found = index.search(queries, 10, where)[1]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), want.tolist(), strict=True)]))


@pytest.mark.slow
@kinds
@pytest.mark.parametrize("query", ["clip", "text"])
def test_refinement_finds_more_and_scores_exactly(
    built: dict[tuple[str, bool], FaissLists], kind: type[FaissLists], query: str
) -> None:
    plain, refined = built[kind.name, False], built[kind.name, True]
    queries = QUERIES[query]
    for where in (None, IDS[::3], IDS[: NUM // 10]):
        before, after = share_found(plain, queries, where), share_found(refined, queries, where)
        assert after >= max(before, 0.95)
    scores, ids = refined.search(queries, 10)
    rows = VECTORS[[int(np.flatnonzero(name == IDS)[0]) for name in ids.ravel()]].reshape(*ids.shape, WIDE)
    exact = np.einsum("qe,qke->qk", queries.astype(np.float64), rows)
    assert np.abs(scores - exact).max() < 1e-6
    assert np.abs(refined.scores(queries[0], ids[0]) - exact[0]).max() < 1e-6
    assert np.array_equal(refined.vectors_of(ids[0]), rows[0])


@pytest.mark.slow
def test_products_of_codes_alone_find_less(built: dict[tuple[str, bool], FaissLists]) -> None:
    found = {name: share_found(index, QUERIES["text"]) for name, index in built.items()}
    assert 0.5 < found["faiss_ivf_pq", False] < found["faiss_ivf", False]
    assert found["faiss_ivf_pq", True] > found["faiss_ivf_pq", False] + 0.05


@pytest.mark.slow
@kinds
@pytest.mark.parametrize("is_mapped", [True, False])
def test_full_vectors_stay_in_the_file(
    built: dict[tuple[str, bool], FaissLists], kind: type[FaissLists], is_mapped: bool, tmp_path: Path
) -> None:
    plain, refined = built[kind.name, False], built[kind.name, True]
    plain.save(tmp_path / "plain")
    refined.save(tmp_path / "refined")
    again = kind.load(tmp_path / "refined", is_mapped)
    assert again.is_refined
    assert not kind.load(tmp_path / "plain", is_mapped).is_refined
    for name, queries in QUERIES.items():
        for one, two in zip(again.search(queries, 10), refined.search(queries, 10), strict=True):
            np.testing.assert_array_equal(one, two, err_msg=name)
    # Mapped, and of the length of the vectors: the last bytes but eight of the file.
    assert (tmp_path / "refined").read_bytes()[:-8][-VECTORS.nbytes :] == VECTORS.tobytes()
    assert all(isinstance(part, np.memmap) for part in again._full._parts)  # type: ignore[union-attr]
    # What grows is not mapped; the file stays as it is.
    before = (tmp_path / "refined").read_bytes()
    more = unit(np.random.default_rng(5), 5, WIDE)
    again.add(more, np.arange(5) + 4 * NUM)
    assert again.remove(IDS[:3]) == 3
    assert np.array_equal(again.vectors_of(np.arange(5) + 4 * NUM), more)
    again.save(tmp_path / "grown")
    grown = kind.load(tmp_path / "grown", is_mapped)
    assert np.array_equal(grown.vectors_of(IDS[3:40]), VECTORS[3:40])
    assert np.array_equal(grown.vectors_of(np.arange(5) + 4 * NUM), more)
    assert not np.isin(grown.search(VECTORS[:3], 5)[1], IDS[:3]).any()
    assert (tmp_path / "refined").read_bytes() == before
    (tmp_path / "cut").write_bytes(before[:-3])
    with pytest.raises(DataError, match="does not end as an index of inverted lists"):
        kind.load(tmp_path / "cut", is_mapped)


def test_what_lists_take(built: dict[tuple[str, bool], FaissLists], tmp_path: Path) -> None:
    flat = 4 * WIDE * NUM
    sizes = {}
    for (name, is_refined), index in built.items():
        index.save(tmp_path / "index")
        sizes[name, is_refined] = (tmp_path / "index").stat().st_size - (flat if is_refined else 0)
    # Ids, places in lists and lists' centres come on top.
    beside = 24 * NUM + 4 * WIDE * 2 * int(NUM**0.5) + 4096
    assert sizes["faiss_ivf", True] < flat * 6 / 32 + beside
    assert sizes["faiss_ivf_pq", True] < flat / 8 + beside + 256 * 4 * WIDE
    assert sizes["faiss_ivf_pq", False] < sizes["faiss_ivf", False]


@pytest.mark.parametrize(("dim", "num"), [(7, 500), (8, 3), (8, 100), (1, 1)])
def test_odd_widths_and_few_vectors(dim: int, num: int) -> None:
    vectors = unit(np.random.default_rng(0), num, dim)
    index = FaissIvfPq(dim, is_refined=True)
    index.add(vectors, np.arange(num))
    index.effort = max(index.efforts())
    scores, ids = index.search(vectors[:3], 1)
    assert np.allclose(scores[:, 0], 1, atol=1e-6)
    assert np.allclose(np.einsum("qe,qe->q", vectors[ids[:, 0]], vectors[:3]), 1, atol=1e-6)


@pytest.mark.slow
def test_auto_refines_where_lists_alone_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "_FLAT", 100)
    config = IndexConfig(recall=0.96, memory_mb=1)
    measure = recall.measure

    def of_lists(index: Any, folds: Any) -> Recall:
        return measure(index, folds) if index.is_refined else Recall(0.25, 0.2, NUM_QUERIES)

    monkeypatch.setattr(recall, "measure", of_lists)
    vectors = footage(4000, WIDE, seed=4)
    found = auto.build(vectors, np.arange(4000), config)
    assert (found.backend, found.index.is_refined) == ("ivf", True)  # type: ignore[attr-defined]
    assert found.why.startswith("ivf with full vectors on disk: ivf reaches recall@10 0.250 for clip queries")
    assert found.recall["clip"] >= 0.96
    # At once, where lists seldom suffice.
    much = auto.build(vectors, np.arange(4000), IndexConfig(recall=0.98, memory_mb=1))
    assert (much.backend, much.index.is_refined) == ("ivf", True)  # type: ignore[attr-defined]
    assert "MB of full vectors there rank what they find; recall@10 " in much.why
    assert "\n" not in found.why + much.why


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ivf", "ivf_pq"])
def test_a_folder_keeps_full_vectors(tmp_path: Path, backend: Any) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 300, "b": 200})
    config = IndexConfig(backend=backend, refine=True)
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=config) as library:
        library.add_vectors(vectors, manifest)
    with ClipIndex.open(tmp_path / "index") as again:
        # Exactly what was added, and so after a rebuild.
        for _ in range(2):
            for at in (20, 350):
                stored = again.vector_at(vectors.video_ids[at], float(vectors.start_s[at] + vectors.end_s[at]) / 2)[0]
                assert np.allclose(stored, vectors.vectors[at] / np.linalg.norm(vectors.vectors[at]), atol=1e-6)
            again.rebuild(IndexConfig(backend="ivf", refine=True))
    assert read_header(tmp_path / "index").config.refine
    assert str(config) == f"--backend {backend} --recall 0.95 --memory_mb 0 --refine true"


@pytest.mark.parametrize("backend", ["flat", "hnsw"])
def test_refinement_is_of_lists(backend: Any) -> None:
    with pytest.raises(ConfigError, match=f"--backend {backend} has full vectors or a graph: give --refine with ivf"):
        IndexConfig(backend=backend, refine=True)
