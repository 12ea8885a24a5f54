"""Vectors on a real Milvus server over TCP, against exact search and against the same folder without a server."""

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.commands.index import index as index_command
from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval import draft
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.exact import Exact
from surgvl.retrieval.folder import read_header
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.milvus import MilvusIndex
from surgvl.retrieval.where import Where
from tests.helpers.made_vectors import DIM, clips, unit
from tests.helpers.patience import patience
from tests.helpers.ports import free_port

here = pytest.mark.skipif(
    not (importlib.util.find_spec("pymilvus") and importlib.util.find_spec("milvus_lite")),
    reason="pymilvus and milvus-lite are not installed (surgvl[milvus])",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server on this machine."""
    port, folder = free_port(), tmp_path_factory.mktemp("milvus")
    program = Path(sys.executable).with_name("milvus-lite")
    argv = [str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + patience(30)
            while not _answers(port):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client(address: str) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(address)


@here
@pytest.mark.parametrize("kind", ["random", "tied", "negative"])
def test_a_flat_collection_equals_exact_search(address: str, kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    vectors, queries = unit(rng, 400, 8), unit(rng, 4, 8)
    if kind == "tied":
        vectors = vectors[rng.integers(0, 3, 400)]
    elif kind == "negative":
        vectors[:, 0], queries[:] = -np.abs(vectors[:, 0]), np.eye(8, dtype=np.float32)[0]
    ids = rng.permutation(2**62 + np.arange(400)).astype(np.int64)
    one, two = MilvusIndex(8, address), Exact(8)
    for each in (one, two):
        each.add(vectors[:300], ids[:300])
        each.add(vectors[300:], ids[300:])
        assert each.remove(ids[50:90]) == 40
    # Of 1, 10 and 50 %, of almost all, and of what is not there.
    for where in (None, ids[:4], ids[::10], ids[::2], ids[:395], np.array([5])):
        for k in (1, 10, 359):
            (scores, found), (exact_scores, exact_found) = one.search(queries, k, where), two.search(queries, k, where)
            assert np.array_equal(found, exact_found)
            assert np.array_equal(scores, exact_scores)
    some = ids[[7, 3, 7]]
    assert np.array_equal(one.vectors_of(some), two.vectors_of(some))
    assert np.array_equal(one.scores(queries[0], some), two.scores(queries[0], some))
    with pytest.raises(DataError, match="is not in the index"):
        one.vectors_of(ids[50:51])


@here
def test_a_folder_on_a_server_equals_one_without(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(client(address).list_collections())
    config = IndexConfig(backend="milvus", address=address)
    first, first_rows = clips(tmp_path / "v1", {"a": 40, "b": 31, "c": 20})
    second, second_rows = clips(tmp_path / "v2", {"d": 12, "b": 25}, seed=1)
    third, third_rows = clips(tmp_path / "v3", {"e": 60}, seed=2)
    # So that additions become a delta, and then part of the base.
    monkeypatch.setattr(draft, "SMALL", 10)
    monkeypatch.setattr(draft, "DELTA_SHARE", 0.3)
    monkeypatch.setattr(draft, "REMOVED", 0.9)
    on_server = ClipIndex.create(tmp_path / "far", "dual", "hash-a", DIM, config=config)
    local = ClipIndex.create(tmp_path / "near", "dual", "hash-a", DIM, config=IndexConfig(backend="flat"))
    queries = unit(np.random.default_rng(9), 5, DIM)
    for step in range(5):
        for clip_index in (on_server, local):
            if step in (0, 1):
                clip_index.add_vectors((first, second)[step], (first_rows, second_rows)[step])
            elif step == 2:
                clip_index.delete_video("c")
            elif step == 3:
                clip_index.add_vectors(third, third_rows)
            else:
                clip_index.rebuild(clip_index.config)
        with ClipIndex.open(tmp_path / "far") as opened:
            for query in queries:
                for where in (Where(), Where(recordings=("b",)), Where(procedure="even")):
                    assert opened.search(query, 8, where) == local.search(query, 8, where)
        (made,) = set(client(address).list_collections()) - before
        # The delta is a file; the rest, and nothing else, is on the server.
        there = {row["id"] for row in client(address).query(made, filter="id >= 0", output_fields=["id"])}
        head = read_header(tmp_path / "far")
        named = set(on_server.version.table.ids.tolist())
        assert there <= named
        assert len(named - there) == (head.delta.count if head.delta else 0)
        assert head.removed == ()
    assert "recall@10 1.000 for clip queries" in on_server.why


@here
def test_what_a_killed_write_left_is_not_found(address: str) -> None:
    rng = np.random.default_rng(0)
    vectors, query = unit(rng, 60, 8), unit(rng, 1, 8)
    index = MilvusIndex(8, address)
    index.add(vectors, np.arange(60))
    # Better than all, and in nobody's list of ids.
    strange = [{"id": 1000 + at, "vector": query[0]} for at in range(50)]
    client(address).upsert(index.collection, strange)
    want = np.argsort(-(vectors @ query[0]))[:10]
    assert index.search(query, 10)[1][0].tolist() == want.tolist()
    index.add(query, [1003])
    assert index.search(query, 2)[1][0].tolist() == [1003, want[0]]


@here
def test_a_graph_is_found_again_in_its_file(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.retrieval.milvus._FLAT", 100)
    vectors, _ = clips(tmp_path / "v", {"a": 400})
    index = MilvusIndex.create(DIM, IndexConfig(backend="milvus", address=address))
    index.train(vectors.vectors)
    index.add(vectors.vectors, np.arange(400))
    index.effort = 128
    index.save(tmp_path / "i.milvus")
    again = MilvusIndex.load(tmp_path / "i.milvus")
    assert (again.kind, again.effort, again.dim, len(again)) == ("HNSW", 128, DIM, 400)
    assert again.search(vectors.vectors[2:20], 1)[1][:, 0].tolist() == list(range(2, 20))
    client(address).drop_collection(index.collection)
    with pytest.raises(DataError, match=f"collection {index.collection} at {address}: .*rebuild the index"):
        again.search(vectors.vectors[:1], 1)


@here
def test_the_command(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, rows = clips(tmp_path / "v", {"a": 20, "b": 20})
    rows.save(tmp_path / "m")
    index_command(tmp_path / "i", tmp_path / "v", tmp_path / "m", backend="milvus", address=address)
    assert "milvus: asked for; recall@10 1.000 for clip queries" in capsys.readouterr().out
    with ClipIndex.open(tmp_path / "i") as found:
        assert found.search(vectors.vectors[25], 1)[0].video_id == "b"


@pytest.mark.parametrize(
    ("backend", "address", "message"),
    [
        ("milvus", "", "must be given together"),
        ("flat", "http://localhost:19530", "must be given together"),
        ("milvus", "vectors.db", r"must be http://HOST:PORT or https://HOST:PORT, got vectors\.db"),
        ("milvus", "http://me:secret@host:1", r"got http://\*\*\*@host:1"),
    ],
)
def test_addresses_that_are_refused(backend: Any, address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IndexConfig(backend=backend, address=address)


@here
def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(DataError, match="at http://127.0.0.1:9: .*check the server"):
        MilvusIndex(4, "http://127.0.0.1:9").add(np.eye(4, dtype=np.float32), np.arange(4))


@here
def test_more_candidates_than_milvus_returns_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.retrieval.milvus._MOST", 100)
    rng = np.random.default_rng(0)
    vectors, query = unit(rng, 300, 8), unit(rng, 1, 8)
    index = MilvusIndex(8, address)
    index.add(vectors, np.arange(300))
    best = np.argsort(-(vectors @ query[0]))
    assert index.search(query, 90)[1][0].tolist() == best[:90].tolist()
    with pytest.raises(
        ConfigError, match=r"at most 100 candidates and this search needs 101 of 300 vectors: ask for fewer"
    ):
        index.search(query, 101)
    # What a filter leaves is what counts.
    assert set(index.search(query, 250, np.arange(70))[1][0].tolist()) == {-1, *range(70)}
