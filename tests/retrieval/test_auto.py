"""The choice of a backend: by size and memory, measured against exact search, with its fallback."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.commands.index import index
from surgvl.core.errors import ConfigError
from surgvl.retrieval import auto, recall
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.faiss_hnsw import FaissHnsw
from surgvl.retrieval.faiss_ivf import FaissIvf
from surgvl.retrieval.folder import read_header
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.recall import NUM_QUERIES, Recall
from tests.helpers.made_vectors import DIM, clips, unit


@pytest.mark.parametrize(
    ("count", "config", "want", "why"),
    [
        (50_000, IndexConfig(), "flat", "searched exactly"),
        (150_000, IndexConfig(), "ivf", "70 MB, mapped from the disk"),
        (150_000, IndexConfig(recall=0.98, memory_mb=4000), "hnsw", "a graph takes 194 MB of memory"),
        (
            150_000,
            IndexConfig(recall=0.98, memory_mb=100),
            "ivf",
            "70 MB, mapped from the disk, and 307 MB of full vectors",
        ),
        (1_000_000, IndexConfig(recall=0.98, memory_mb=64_000), "ivf", "464 MB, mapped"),
        (9, IndexConfig(backend="ivf"), "ivf", "asked for"),
        (9_000_000, IndexConfig(backend="flat"), "flat", "asked for"),
    ],
)
def test_choice_by_size_and_memory(count: int, config: IndexConfig, want: str, why: str) -> None:
    backend, line = auto.choose(count, 512, config)
    assert backend == want
    assert why in line
    assert "\n" not in line


def made(num: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return unit(rng, num, DIM), rng.permutation(num).astype(np.int64)


@pytest.mark.slow
def test_a_build_tells_its_recall_for_both_kinds_of_queries() -> None:
    vectors, ids = made(2000)
    texts = unit(np.random.default_rng(1), 40, DIM)
    built = auto.build(vectors, ids, IndexConfig(backend="ivf", recall=0.9), texts)
    assert built.backend == "ivf"
    assert set(built.recall) == {"clip", "text"}
    # Measured anew, from outside.
    found = built.index.search(texts, 10)[1]
    want = [set(ids[np.argsort(-(vectors @ text))[:10]].tolist()) for text in texts]
    share = np.mean([len(set(row) & best) / 10 for row, best in zip(found.tolist(), want, strict=True)])
    assert built.recall["text"] == pytest.approx(share, abs=0.011)
    assert f"{built.recall['text']:.3f} for text queries" in built.why
    assert "text" not in auto.build(vectors, ids, IndexConfig(backend="ivf"), None).recall


@pytest.mark.slow
def test_more_effort_is_spent_where_more_recall_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Lists are searched, however few vectors there are.
    monkeypatch.setattr(FaissIvf, "_scan_limit", lambda self, k: 10)
    vectors, ids = made(3000)
    low, high = (auto.build(vectors, ids, IndexConfig(backend="ivf", recall=share)) for share in (0.2, 0.9))
    assert low.index.effort < high.index.effort
    assert 0.2 <= low.recall["clip"] < 0.9 <= high.recall["clip"]


@pytest.mark.slow
def test_a_back_end_that_misses_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "_FLAT", 100)
    vectors, ids = made(4000)
    assert auto.build(vectors, ids, IndexConfig(recall=0.5)).backend == "ivf"
    for kind in (FaissIvf, FaissHnsw):
        monkeypatch.setattr(kind, "_scan_limit", lambda self, k: 10)
    monkeypatch.setattr(FaissIvf, "efforts", lambda self: (1,))
    # One list of many is not enough, and 512 candidates of a graph are.
    graph = auto.build(vectors, ids, IndexConfig(recall=0.96))
    assert graph.backend == "hnsw"
    assert "ivf reaches recall@10 0." in graph.why
    monkeypatch.setattr(recall, "measure", lambda index, folds: Recall(0.25, 0.2, NUM_QUERIES))
    flat = auto.build(vectors, ids, IndexConfig(recall=0.96))
    assert flat.backend == "flat"
    assert flat.recall == {}
    assert flat.why.startswith(
        "flat: hnsw reaches recall@10 0.250 for clip queries, surely 0.200, below the 0.96 wanted"
    )
    # Where a graph has no room, flat is next.
    small = auto.build(vectors, ids, IndexConfig(recall=0.95, memory_mb=1))
    assert small.why.startswith("flat: ivf with full vectors reaches recall@10 0.250")
    kept = auto.build(vectors, ids, IndexConfig(backend="ivf", recall=0.999))
    assert kept.backend == "ivf"
    assert "below the 0.999 wanted" in kept.why


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["hnsw", "ivf", "ivf_pq"])
def test_an_index_folder_of_each_kind(tmp_path: Path, backend: Any) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 300, "b": 200})
    config = IndexConfig(backend=backend)
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=config) as library:
        library.add_vectors(vectors, manifest)
        library.add_vectors(*clips(tmp_path / "more", {"c": 40}, seed=3))
        assert library.delete_video("a") == 298
    head = read_header(tmp_path / "index")
    assert head.base is not None
    assert (head.base.backend, head.config) == (backend, config)
    with ClipIndex.open(tmp_path / "index") as again:
        assert again.why == head.why != ""
        best = again.search(vectors.vectors[350], 1)[0]
        assert best.video_id == "b"
        assert best.start_s <= vectors.start_s[350] < best.end_s
        again.rebuild(IndexConfig(backend="flat"))
        assert again.why == "flat: asked for"
        assert again.search(vectors.vectors[350], 1)[0].score == pytest.approx(best.score, abs=1e-5)


@pytest.mark.parametrize("backend", ["flat", "hnsw", "ivf", "ivf_pq"])
def test_an_index_that_was_emptied_can_be_filled_again(tmp_path: Path, backend: Any) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 40})
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=IndexConfig(backend=backend)) as library:
        count = library.add_vectors(vectors, manifest)
        assert library.delete_video("a") == count
        assert (len(library), library.why) == (0, "")
        assert library.search(vectors.vectors[0], 1) == []
        assert library.add_vectors(vectors, manifest) == count
        assert library.search(vectors.vectors[20], 1)[0].video_id == "a"


@pytest.mark.slow
def test_the_command_stores_an_index_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(tmp_path / "vectors", {"a": 30, "b": 31})[1].save(tmp_path / "vectors" / "manifest")
    folder, given = tmp_path / "index", (tmp_path / "vectors", tmp_path / "vectors" / "manifest")
    index(folder, *given, backend="ivf", recall=0.5)
    assert "ivf: asked for; recall@10 " in capsys.readouterr().out
    with pytest.raises(ConfigError, match="is stored with --backend ivf --recall 0.5 --memory_mb 0: leave these out"):
        index(folder, *given, resume=True, backend="hnsw")
    index(folder, *given, resume=True)
    index(folder, rebuild=True)
    assert "flat: 57 vectors are searched exactly" in capsys.readouterr().out
    assert read_header(folder).config == IndexConfig()
    with pytest.raises(ConfigError, match="must not be given together"):
        index(folder, delete="a", rebuild=True)
    for wrong, message in (({"recall": 1.5}, "--recall must be between 0 and 1"), ({"memory_mb": -1}, "--memory_mb")):
        with pytest.raises(ConfigError, match=message):
            index(folder, *given, **wrong)
