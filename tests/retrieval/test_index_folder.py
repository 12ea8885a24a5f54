"""The files of an index folder: bases and deltas against a plain list of clips, kills, folders of version 1."""

import json
import os
import shutil
import signal
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from surgvl.commands.index import index
from surgvl.core.errors import DataError
from surgvl.retrieval import auto, draft, folder, recall
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.folder import read_header
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.moment_table import MomentTable
from surgvl.retrieval.recall import NUM_QUERIES, Recall
from surgvl.retrieval.where import Where
from tests.helpers.in_fork import in_fork
from tests.helpers.made_vectors import DIM, clips

PLACES = ["FaissFlat.save", "MomentTable.write", "folder.write_header", "folder.clear"]
# Written as one file, as a delta, and folded; a deletion from a large index replaces `index.json` alone.
CASES = [("add", where, small) for where in PLACES for small in (10_000, 60, 0)]
CASES += [("delete", where, 10_000) for where in PLACES] + [("delete", where, 60) for where in PLACES[2:]]


def write_killed(act: str, where: str, small: int, root: Path) -> None:
    """Write into an index, and be killed at a place."""
    calls: list[str] = []
    draft.SMALL, draft.REMOVED = small, 1.0
    faiss.omp_set_num_threads(1)

    def kill(*args: Any, **more: Any) -> None:
        calls.append(where)
        if len(calls) == (2 if where == "folder.clear" else 1):
            os.kill(os.getpid(), signal.SIGKILL)

    owner, _, name = where.partition(".")
    setattr({"FaissFlat": FaissFlat, "MomentTable": MomentTable, "folder": folder}[owner], name, kill)
    if act == "add":
        index(root / "index", root / "more", root / "more" / "manifest", resume=True)
    else:
        index(root / "index", delete="b")


@pytest.fixture(scope="module")
def killed_writes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Index folders below `ACT PLACE`, and with what status the process ended that wrote into each."""
    root = tmp_path_factory.mktemp("killed")
    _, manifest = clips(root / "vectors", {"a": 60, "b": 41, "c": 50})
    manifest.save(root / "vectors" / "manifest")
    # By the command, whose imports the forks then have.
    index(root / "index", root / "vectors", root / "vectors" / "manifest")
    clips(root / "more", {"a": 30, "d": 12}, seed=5)[1].save(root / "more" / "manifest")
    statuses = {}
    for case in CASES:
        name = " ".join(map(str, case))
        shutil.copytree(root / "index", root / name / "index")
        shutil.copytree(root / "more", root / name / "more")
        statuses[name] = in_fork(partial(write_killed, *case, root / name))
    return root, statuses


@pytest.mark.slow
@pytest.mark.parametrize(("act", "where", "small"), CASES)
def test_killed_write_leaves_a_whole_version(
    killed_writes: tuple[Path, dict[str, int]], where: str, act: str, small: int
) -> None:
    """A process that is killed within a write, at several places; afterwards the old or the new version is there."""
    root, statuses = killed_writes
    place, status = root / f"{act} {where} {small}" / "index", statuses[f"{act} {where} {small}"]
    assert status == -signal.SIGKILL
    old = {"a": 58, "b": 39, "c": 48}
    new = {"a": 28, "b": 39, "c": 48, "d": 10} if act == "add" else {"a": 58, "c": 48}
    with ClipIndex.open(place) as again:
        assert again.counts("video_id") == (new if where == "folder.clear" else old)
        assert len(again) == sum(again.counts("video_id").values())
        assert {moment.video_id for moment in again.search(np.ones(DIM), 200)} == set(again.counts("video_id"))
        # The next write clears what the killed one left.
        again.delete_video("c")
    names = {path.name for path in place.iterdir()} - {"run.json", "config.yaml"}
    assert len(names) == 3
    assert "index.json" in names


@pytest.mark.slow
def test_any_order_of_writes_equals_a_plain_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Additions, replacements and removals, with limits at which all kinds of writing occur."""
    monkeypatch.setattr(draft, "SMALL", 30)
    monkeypatch.setattr(draft, "DELTA_SHARE", 0.5)
    rng = np.random.default_rng(4)
    there: dict[str, tuple[Any, Any]] = {}
    kinds = set()
    ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM)
    for turn in range(16):
        with ClipIndex.open(tmp_path / "index") as library:
            before = read_header(library.folder)
            if there and rng.random() < 0.3:
                gone = str(rng.choice(list(there)))
                assert library.delete_video(gone) == len(there.pop(gone)[0])
            else:
                lengths = {f"video{at}": int(rng.integers(4, 25)) for at in rng.choice(12, 2, replace=False)}
                vectors, manifest = clips(tmp_path / f"vectors{turn}", lengths, seed=turn, clip_s=1.0)
                library.add_vectors(vectors, manifest)
                for name in lengths:
                    mine = np.array(vectors.video_ids) == name
                    there[name] = (vectors.vectors[mine], vectors.start_s[mine])
        after = read_header(library.folder)
        kinds.add((after.base != before.base, after.delta is not None, bool(after.removed)))
        # Opened anew, as another process does.
        with ClipIndex.open(tmp_path / "index") as again:
            assert again.counts("video_id") == {name: len(there[name][0]) for name in sorted(there)}
            query = rng.normal(size=DIM)
            for name, (rows, starts) in there.items():
                scores = rows @ (query / np.linalg.norm(query))
                found = again.search(query, 1, Where(recordings=(name,)))[0]
                assert found.score == pytest.approx(scores.max(), abs=2e-3)
                assert found.start_s <= starts[scores.argmax()] < found.end_s
                assert np.allclose(again.scores_of(name, query)[1], scores, atol=2e-3)
            every = {name: float((rows @ query).max()) for name, (rows, _) in there.items()}
            if every:
                assert again.search(query, 1)[0].video_id == max(every, key=lambda name: every[name])
    # A new base, with and without recordings removed from the old one; a delta; a removal alone.
    assert {(True, False, False), (False, True, False), (False, True, True)} <= kinds


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["flat", "hnsw", "ivf", "ivf_pq"])
def test_an_addition_to_a_large_index_leaves_its_base_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    monkeypatch.setattr(draft, "SMALL", 100)
    config = IndexConfig(backend=backend)
    vectors, manifest = clips(tmp_path / "one", {"a": 300, "z": 60})
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=config) as library:
        library.add_vectors(vectors, manifest)
        base = {path: path.stat().st_ino for path in library.folder.glob("base-*")}
        library.add_vectors(*clips(tmp_path / "two", {"b": 60}, seed=1))
        assert library.delete_video("z") == 58
        assert {path: path.stat().st_ino for path in library.folder.glob("base-*")} == base
        assert len(list(library.folder.glob("delta-*"))) == 2
        # Beyond the limit the delta is folded, by the quantisers that are there.
        more = clips(tmp_path / "three", {"c": 60}, seed=2)
        library.add_vectors(*more)
        assert len(list(library.folder.glob("delta-*"))) == 0
        head = read_header(library.folder)
        assert head.base is not None
        assert (head.base.backend, head.base.count, head.base.trained) == (backend, 298 + 58 + 58, 298 + 58)
    with ClipIndex.open(tmp_path / "index") as again:
        assert again.counts("video_id") == {"a": 298, "b": 58, "c": 58}
        for at, found in ((30, vectors), (20, more[0])):
            best = again.search(found.vectors[at], 1)[0]
            assert best.video_id == found.video_ids[at]
            assert best.start_s <= found.start_s[at] < best.end_s
            assert best.score == pytest.approx(1, abs=0.02)
        # The vector of what was removed finds nothing of its recording.
        assert "z" not in {moment.video_id for moment in again.search(vectors.vectors[330], 20)}


@pytest.mark.slow
def test_a_build_that_fell_back_is_not_repeated_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "SMALL", 100)
    monkeypatch.setattr(auto, "_FLAT", 200)
    monkeypatch.setattr(recall, "measure", lambda index, folds: Recall(0.5, 0.5, NUM_QUERIES))
    builds: list[int] = []
    build = auto.build

    def counted(rows: Any, *rest: Any) -> Any:
        builds.append(len(rows))
        return build(rows, *rest)

    monkeypatch.setattr(auto, "build", counted)
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM) as library:
        for turn, (name, length) in enumerate({"a": 130, "b": 92, "c": 32, "d": 32, "e": 900}.items()):
            library.add_vectors(*clips(tmp_path / name, {name: length}, seed=turn))
            library.add_vectors(*clips(tmp_path / f"{name}2", {f"{name}2": 12}, seed=turn + 9))
        assert library.why.startswith("flat: hnsw reaches recall@10 0.500")
    # At first, beyond `_FLAT`, and at four times of what that build had seen.
    assert builds == [128, 228, 1216]


def version_1(folder: Path, number: str) -> Any:
    """A folder as version 1 wrote it, made with FAISS and SQLite; returns its vectors."""
    folder.mkdir()
    rows = np.eye(DIM, dtype=np.float32)[:5]
    index = faiss.index_factory(DIM, "IDMap2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.add_with_ids(rows, np.array([50, 40, 30, 20, 10]))
    faiss.write_index(index, str(folder / f"index{number}.faiss"))
    with sqlite3.connect(folder / f"moments{number}.sqlite") as connection:
        connection.execute(
            "CREATE TABLE moments (id INTEGER PRIMARY KEY, video_id TEXT NOT NULL, path TEXT NOT NULL, start_s REAL "
            "NOT NULL, end_s REAL NOT NULL, procedure TEXT NOT NULL, source TEXT NOT NULL)"
        )
        for at in range(5):
            row = (50 - 10 * at, "ba"[at % 2], f"/films/{'ba'[at % 2]}.mp4", 4.0 * at, 4.0 * at + 4, "hip", "made")
            connection.execute("INSERT INTO moments VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
    head = {"model": "dual", "model_hash": "hash-a", "dim": DIM, "count": 5, "version": 1}
    (folder / "index.json").write_text(json.dumps({**head, **({"number": int(number[1:])} if number else {})}))
    return rows


@pytest.mark.parametrize("number", ["", "-3"])
def test_a_folder_of_version_1_is_read_and_written(tmp_path: Path, number: str) -> None:
    rows = version_1(tmp_path / "index", number)
    with ClipIndex.open(tmp_path / "index") as again:
        assert again.counts("video_id") == {"a": 2, "b": 3}
        for at, row in enumerate(rows):
            best = again.search(row, 1)[0]
            assert (best.video_id, best.path, best.procedure) == ("ba"[at % 2], f"/films/{'ba'[at % 2]}.mp4", "hip")
            assert best.start_s <= 4 * at < best.end_s
        again.add_vectors(*clips(tmp_path / "more", {"d": 12}))
        assert again.delete_video("a") == 2
        assert again.counts("video_id") == {"b": 3, "d": 10}
        assert again.search(rows[4], 1)[0].score == pytest.approx(1)
    files = {path.suffix for path in (tmp_path / "index").iterdir()}
    assert files == {".json", ".faiss", ".parquet"}


def test_a_folder_of_version_1_that_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    version_1(tmp_path / "index", "")
    with sqlite3.connect(tmp_path / "index" / "moments.sqlite") as connection:
        connection.execute("DELETE FROM moments WHERE id = 30")
    connection.close()
    with pytest.raises(DataError, match=r"1 vectors of index\.faiss have no row in moments\.sqlite"):
        ClipIndex.open(tmp_path / "index")
    (tmp_path / "index" / "moments.sqlite").write_bytes(b"this is text and no table" * 100)
    with pytest.raises(DataError, match=r"moments\.sqlite is not a moment table"):
        ClipIndex.open(tmp_path / "index")
