"""Approximate backends against exact search: recall for clips and sentences, under filters, and after changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.exact import Exact
from surgvl.retrieval.faiss_index import FaissIndex
from tests.helpers.made_vectors import footage, sentences

K, DIM, NUM, PER_RECORDING = 10, 64, 12_000, 100
approximate = pytest.mark.parametrize("backend", ["hnsw", "ivf"])


VECTORS = footage(NUM, DIM, per_recording=PER_RECORDING)
IDS = np.random.default_rng(1).permutation(NUM * 3)[:NUM].astype(np.int64)
# Clips of other recordings, and sentences.
QUERIES = {"clip": footage(1000, DIM, seed=3)[::25], "text": sentences(VECTORS, 40, seed=2)}


@pytest.fixture(scope="module")
def built() -> dict[str, BulkIndex]:
    """An index of each kind, at the effort that a build would choose."""
    found = {}
    for name, effort in (("hnsw", 512), ("ivf", 256)):
        index = BACKENDS[name](DIM)
        index.train(VECTORS)
        index.add(VECTORS[:4500], IDS[:4500])
        index.add(VECTORS[4500:], IDS[4500:])
        index.effort = effort
        found[name] = index
    return found


@pytest.fixture(scope="module")
def truth() -> Exact:
    index = Exact(DIM)
    index.add(VECTORS, IDS)
    return index


Best = Callable[..., list[list[int]]]


@pytest.fixture(scope="module")
def best(truth: Exact) -> Best:
    """A function of the kind of queries and a filter: the best clips, searched for once for all indexes."""
    known: dict[tuple[str, bytes], list[list[int]]] = {}

    def found(kind: str, where: Any = None) -> list[list[int]]:
        key = (kind, b"" if where is None else where.tobytes())
        if key not in known:
            known[key] = truth.search(QUERIES[kind], K, where)[1].tolist()
        return known[key]

    return found


def recall(index: FaissIndex, best: Best, kind: str, where: Any = None) -> float:
    found, want = index.search(QUERIES[kind], K, where)[1], best(kind, where)
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), want, strict=True)]))


@pytest.mark.slow
@approximate
@pytest.mark.parametrize("kind", ["clip", "text"])
def test_most_of_the_best_are_found(
    built: dict[str, FaissIndex], truth: Exact, best: Best, backend: str, kind: str
) -> None:
    assert recall(built[backend], best, kind) >= 0.94
    # Scores are those of the stored vectors, which are quantised.
    scores, ids = built[backend].search(QUERIES[kind], K)
    exact = np.einsum("qe,qke->qk", QUERIES[kind], truth.vectors_of(ids.ravel()).reshape(*ids.shape, DIM))
    assert np.abs(scores - exact).max() < 0.02
    assert (np.diff(scores, axis=1) <= 0).all()
    assert np.allclose(built[backend].scores(QUERIES[kind][0], ids[0]), scores[0], atol=2e-6)


@pytest.mark.slow
@approximate
@pytest.mark.parametrize("kind", ["clip", "text"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("by_recording", [True, False])
@pytest.mark.parametrize("is_scanned", [True, False])
def test_filters_keep_the_recall(
    built: dict[str, FaissIndex],
    best: Best,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    kind: str,
    share: float,
    by_recording: bool,
    is_scanned: bool,
) -> None:
    rng = np.random.default_rng(int(share * 100))
    wanted = rng.random(NUM // PER_RECORDING if by_recording else NUM) < share
    where = IDS[np.repeat(wanted, PER_RECORDING) if by_recording else wanted]
    index = built[backend]
    if not is_scanned:
        # As in an index of a million, filters go into FAISS.
        monkeypatch.setattr(type(index), "_scan_limit", lambda self, k: 500)
    among = index.select(where)
    assert recall(index, best, kind, where) >= 0.94
    assert np.isin(index.search(QUERIES[kind], K, among)[1], where).all()


@pytest.mark.slow
@approximate
def test_what_is_removed_never_comes_back(built: dict[str, FaissIndex], tmp_path: Path, backend: str) -> None:
    built[backend].save(tmp_path / "index")
    index = type(built[backend]).load(tmp_path / "index", is_mapped=True)
    gone = IDS[: NUM // 2]
    assert index.remove(gone) == NUM // 2
    found = index.search(QUERIES["clip"], 200)[1]
    assert not np.isin(found, gone).any()
    assert (found >= 0).all()
    with pytest.raises(DataError, match="is not in the index"):
        index.vectors_of(gone[:1])
    # A mapped index is read before it grows; the file stays as it is.
    before = (tmp_path / "index").read_bytes()
    index.add(VECTORS[:50], gone[:50])
    assert index.search(VECTORS[7:8], 1)[1].tolist() == [[int(gone[7])]]
    assert (tmp_path / "index").read_bytes() == before
    index.save(tmp_path / "again")
    again = type(index).load(tmp_path / "again")
    assert len(again) == len(index) == NUM // 2 + 50
    assert np.array_equal(again.search(QUERIES["text"], K)[1], index.search(QUERIES["text"], K)[1])


@pytest.mark.slow
@approximate
def test_all_are_returned_when_all_are_asked_for(backend: str) -> None:
    index = BACKENDS[backend](DIM)
    index.add(VECTORS[:3000], IDS[:3000])
    for k, where in ((3000, None), (40, IDS[:30]), (2990, IDS[5:3000])):
        found = index.search(QUERIES["clip"][:3], k, where)[1]
        num = min(k, 3000 if where is None else len(where))
        assert [len(set(row) - {-1}) for row in found.tolist()] == [num] * 3
        assert (found[:, num:] == -1).all()


@approximate
def test_a_file_of_another_kind_is_refused(backend: str, tmp_path: Path) -> None:
    flat = BACKENDS["flat"](DIM)
    flat.add(VECTORS[:10], IDS[:10])
    flat.save(tmp_path / "flat")
    with pytest.raises(DataError, match="holds a IndexFlatIP, not a IndexHNSW|not a IndexIVFScalarQuantizer"):
        BACKENDS[backend].load(tmp_path / "flat")
    plain: Any = faiss.IndexFlatIP(DIM)
    faiss.write_index(plain, str(tmp_path / "plain"))
    with pytest.raises(DataError, match="not inner products by id"):
        BACKENDS[backend].load(tmp_path / "plain")
    with pytest.raises(DataError, match="train before adding"):
        flat.train(VECTORS[:10])


def test_lists_without_their_seventh_bits_are_refused(tmp_path: Path) -> None:
    index = BACKENDS["ivf"](DIM)
    index.add(VECTORS[:100], IDS[:100])
    index.save(tmp_path / "ivf")
    (tmp_path / "ivf").write_bytes((tmp_path / "ivf").read_bytes()[:-3])
    for is_mapped in (True, False):
        with pytest.raises(DataError, match="does not end as an index of inverted lists"):
            BACKENDS["ivf"].load(tmp_path / "ivf", is_mapped)
