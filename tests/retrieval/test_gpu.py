"""Which searches a GPU gets, and that its answers are those of the processor; FAISS' copy is a stand-in in memory."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from surgvl.commands.index import index as index_command
from surgvl.commands.search import search
from surgvl.core.errors import ConfigError
from surgvl.retrieval import faiss_ivf_pq, gpu
from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.index_config import IndexConfig
from tests.helpers.made_vectors import DIM, clips, unit

NUM = 6000


class Copy:
    """What FAISS would put on a GPU."""

    def __init__(self, resources: object, place: int, index: Any) -> None:
        assert place == 0
        self.index = faiss.clone_index(index)
        self.asked: list[int | None] = []

    def search(self, queries: Any, k: int, params: Any) -> Any:
        assert k <= 2048
        assert params.sel is None
        self.asked.append(getattr(params, "nprobe", None))
        return self.index.search(queries, k, params=params)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Copy]:
    """FAISS with CUDA and one GPU; returns the copies that are made."""
    made: list[Copy] = []

    def copy(*args: Any) -> Copy:
        made.append(Copy(*args))
        return made[-1]

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", copy, raising=False)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["flat", "ivf", "ivf_pq"])
def test_a_copy_answers_what_it_can_as_the_processor_does(
    copies: list[Copy], monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    # k-means of few vectors and rounds is good enough, and fast.
    monkeypatch.setattr(faiss_ivf_pq, "_ROUNDS", 4)
    monkeypatch.setattr(faiss_ivf_pq, "_PER_CODE", 8)
    rng = np.random.default_rng(0)
    vectors, ids, queries = unit(rng, NUM, DIM), rng.permutation(NUM).astype(np.int64), unit(rng, 30, DIM)
    index = BACKENDS[backend](DIM)
    index.train(vectors)
    index.add(vectors, ids)
    if efforts := index.efforts():
        index.effort = efforts[1]
    cases = [(5, None), (10, None), (5, ids[::2]), (2100, None)]
    before = [index.search(queries, k, where) for k, where in cases]
    index.place("gpu")
    (copy,) = copies
    asked = []
    for (k, where), (scores, found) in zip(cases, before, strict=True):
        again = index.search(queries, k, where)
        assert np.array_equal(again[0], scores)
        assert np.array_equal(again[1], found)
        asked.append(len(copy.asked))
    # Filters, and more results than a GPU returns, stay on the processor.
    assert 0 < asked[0] < asked[1] == asked[2] == asked[3]
    # So does what was removed, and an index that has grown has another copy, if any.
    index.remove(ids[:10])
    assert not np.isin(index.search(queries, 10)[1], ids[:10]).any()
    index.add(vectors[:10], ids[:10])
    assert index.search(vectors[:1], 1)[1].tolist() == [[ids[0]]]
    assert len(copy.asked) == asked[-1]


@pytest.mark.slow
def test_a_gpu_gets_no_more_lists_than_it_takes(copies: list[Copy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.retrieval.faiss_lists.MOST", 20)
    index = BACKENDS["ivf"](DIM)
    index.add(unit(np.random.default_rng(0), NUM, DIM), np.arange(NUM))
    index.effort = 32
    index.place("gpu")
    index.search(np.eye(DIM)[:1], 3)
    assert copies[0].asked == [20]


def test_a_gpu_is_used_for_many_vectors_or_where_it_is_asked_for(copies: list[Copy]) -> None:
    cases = [("auto", 49_999), ("auto", 50_000), ("cpu", 10**6), ("gpu", 1)]
    assert [gpu.is_used(device, num) for device, num in cases] == [False, True, False, True]  # type: ignore[arg-type]
    # A graph has no counterpart.
    graph = BACKENDS["hnsw"](DIM)
    graph.add(np.eye(DIM), np.arange(DIM))
    graph.place("auto")
    assert copies == []
    for backend, address in (("hnsw", ""), ("milvus", "http://localhost:19530")):
        with pytest.raises(ConfigError, match=f"--backend {backend} is not searched on a GPU: give flat or ivf"):
            IndexConfig(backend=backend, address=address, device="gpu")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_folder_is_searched_on_the_gpu_of_the_machine_that_opens_it(copies: list[Copy], tmp_path: Path) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 3000, "b": 2000})
    config = IndexConfig(backend="flat", device="gpu")
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=config) as library:
        library.add_vectors(vectors, manifest)
    with ClipIndex.open(tmp_path / "index") as again:
        assert again.search(vectors.vectors[3500], 1)[0].video_id == "b"
    assert copies[-1].asked


def test_a_gpu_that_cannot_be_used_is_told_in_one_line(
    copies: list[Copy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index = BACKENDS["flat"](DIM)
    index.add(np.eye(DIM), np.arange(DIM))

    def full(*args: Any) -> Any:
        raise RuntimeError("Error in allocMemory\nalloc fail (err out of memory)")

    monkeypatch.setattr(faiss, "index_cpu_to_gpu", full)
    with pytest.raises(ConfigError, match=r"cannot copy 16 vectors to the GPU \(alloc fail \(err out of memory\)\)"):
        index.place("gpu")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert not gpu.is_used("auto", 10**6)
    with pytest.raises(ConfigError, match="FAISS sees no GPU: check nvidia-smi"):
        gpu.is_used("gpu", 10**6)
    monkeypatch.delattr(faiss, "StandardGpuResources")
    assert not gpu.is_used("auto", 10**6)
    with pytest.raises(ConfigError, match=r"pip uninstall faiss-cpu, then pip install 'surgvl\[gpu\]'") as told:
        index_command(tmp_path / "index", tmp_path, tmp_path, device="gpu")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_a_folder_opens_where_its_gpu_is_not_there_or_too_small(
    copies: list[Copy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], device: Any
) -> None:
    """What a GPU would raise is a stand-in's: this never ran on one."""
    monkeypatch.setattr(gpu, "_LEAST", 100)
    vectors, manifest = clips(tmp_path / "vectors", {"a": 300, "b": 200})
    config = IndexConfig(backend="flat", device=device)
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=config) as library:
        library.add_vectors(vectors, manifest)
        assert library.version.placed == ""

    def full(*args: Any) -> Any:
        raise RuntimeError("Error in allocMemory\nalloc fail (err out of memory)")

    monkeypatch.setattr(faiss, "index_cpu_to_gpu", full)
    told = {}
    told["full"] = ClipIndex.open(tmp_path / "index")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    told["none"] = ClipIndex.open(tmp_path / "index")
    monkeypatch.delattr(faiss, "StandardGpuResources")
    told["no CUDA"] = ClipIndex.open(tmp_path / "index")
    for found in told.values():
        assert found.search(vectors.vectors[350], 1)[0].video_id == "b"
    assert told["full"].version.placed.startswith("searched on the processor: FAISS cannot copy 496 vectors to the GPU")
    # Only who insists on a GPU is told that there is none.
    missing = {name: told[name].version.placed for name in ("none", "no CUDA")}
    assert [text.partition(": ")[2][:12] for text in missing.values()] == (
        ["--device gpu"] * 2 if device == "gpu" else ["", ""]
    )
    assert all("\n" not in found.version.placed for found in told.values())
    capsys.readouterr()
    search(index=tmp_path / "index", like=["a@12.5"], k=1)
    assert ("searched on the processor" in capsys.readouterr().out) == (device == "gpu")
