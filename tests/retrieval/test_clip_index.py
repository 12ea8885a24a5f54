"""An index folder: search, filters, replacement, other encoders, writers and readers at once."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.embed.vectors import Vectors
from surgvl.retrieval import folder, version
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.exact import Exact
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.moment_table import MomentTable
from surgvl.retrieval.where import Where
from tests.helpers.made_vectors import DIM, clips, unit


@pytest.fixture
def filled(tmp_path: Path) -> tuple[ClipIndex, Vectors]:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 60, "b": 41, "c": 50})
    library = ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM)
    assert library.add_vectors(vectors, manifest) == 58 + 39 + 48
    return library, vectors


def test_every_clip_finds_itself(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    for row in (0, 30, 59, 60, 150):
        best = library.search(vectors.vectors[row] * 3, 1)[0]
        assert best.video_id == vectors.video_ids[row]
        assert best.start_s <= vectors.start_s[row] < vectors.end_s[row] <= best.end_s
        assert best.score == pytest.approx(1, abs=1e-5)
        assert (best.path, best.source) == (str(tmp_path / "vectors" / f"{best.video_id}.mp4"), "made")


def test_moments_are_distinct_and_k_of_them(filled: tuple[ClipIndex, Vectors]) -> None:
    library, vectors = filled
    for k in (1, 3, 8):
        found = library.search(vectors.vectors[5], k)
        assert len(found) == k
        assert [moment.score for moment in found] == sorted((moment.score for moment in found), reverse=True)
        for at, one in enumerate(found):
            for two in found[:at]:
                assert one.video_id != two.video_id or one.start_s > two.end_s + 1 or two.start_s > one.end_s + 1
    # 145 clips hold few stretches that do not touch: all of them come, and no more.
    assert 3 <= len(library.search(vectors.vectors[5], 1000)) < 145


def test_filters_and_exclusion(filled: tuple[ClipIndex, Vectors]) -> None:
    library, vectors = filled
    query = vectors.vectors[20]
    assert {moment.video_id for moment in library.search(query, 4, Where(recordings=("b",)))} == {"b"}
    assert {moment.video_id for moment in library.search(query, 9, Where(procedure="even"))} == {"a", "c"}
    assert {moment.procedure for moment in library.search(query, 4, Where(procedure="odd", source="made"))} == {"odd"}
    own = (vectors.video_ids[20], float(vectors.start_s[20]), float(vectors.end_s[20]))
    for moment in library.search(query, 20, exclude=[own]):
        assert moment.video_id != own[0] or moment.end_s <= own[1] or moment.start_s >= own[2]
    with pytest.raises(ConfigError, match="nothing in .* matches video 'z'.*one of a, b, c"):
        library.search(query, 1, Where(recordings=("z",)))
    with pytest.raises(ConfigError, match="procedure is one of even, odd"):
        library.search(query, 1, Where(procedure="hip", source="made"))


def test_best_hit_equals_exact_search(filled: tuple[ClipIndex, Vectors]) -> None:
    library, vectors = filled
    exact = Exact(DIM)
    exact.add(vectors.vectors, np.arange(len(vectors.vectors)))
    for query in unit(np.random.default_rng(9), 20, DIM):
        row = int(exact.search(query[None], 1)[1][0, 0])
        best = library.search(query, 1)[0]
        assert best.video_id == vectors.video_ids[row]
        assert best.start_s <= vectors.start_s[row] <= best.end_s


def test_stored_vector_of_a_time(filled: tuple[ClipIndex, Vectors]) -> None:
    library, vectors = filled
    vector, start_s, end_s = library.vector_at("b", 20.5)
    assert np.allclose(vector, vectors.vectors[60 + 20], atol=1e-3)
    assert (start_s, end_s) == (18.5, 22.5)
    for name, time_s, message in (("z", 1.0, "'z' is not in"), ("b", 99.0, "from 0.0 to 41.0 s")):
        with pytest.raises(DataError, match=message):
            library.vector_at(name, time_s)


def test_refused_queries(filled: tuple[ClipIndex, Vectors]) -> None:
    library = filled[0]
    for vector, message in ((np.zeros(DIM), "zero"), (np.full(DIM, np.nan), "NaN"), (np.ones(3), "must be")):
        with pytest.raises(DataError, match=message):
            library.search(vector, 1)
    with pytest.raises(ConfigError, match="k must be >= 1, got 0"):
        library.search(np.ones(DIM), 0)


def test_vectors_of_another_encoder_are_refused(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library = filled[0]
    with pytest.raises(DataError, match=r"hash-a.*is hash-b.*cannot be compared"):
        library.add_vectors(*clips(tmp_path / "other", {"d": 5}, model_hash="hash-b"))
    with pytest.raises(DataError, match="the query's model is hash-b"):
        ClipIndex.open(library.folder, model_hash="hash-b")
    with ClipIndex.open(library.folder, model_hash="hash-a") as again:
        assert len(again) == 145


@pytest.mark.slow
def test_add_again_replaces_and_delete_removes(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    library.add_vectors(*clips(tmp_path / "vectors", {"a": 60, "b": 41, "c": 50}))
    assert len(library) == 145
    # The video was cut and embedded anew: its old clips go.
    again, manifest = clips(tmp_path / "again", {"a": 20, "d": 10}, seed=7)
    library.add_vectors(again, manifest)
    assert library.counts("video_id") == {"a": 18, "b": 39, "c": 48, "d": 8}
    assert library.search(again.vectors[3], 1)[0].score == pytest.approx(1, abs=1e-5)
    assert library.search(vectors.vectors[40], 1)[0].score < 0.99
    assert library.delete_video("b") == 39
    assert "b" not in {moment.video_id for moment in library.search(vectors.vectors[70], 50)}
    with pytest.raises(DataError, match="'b' is not in"):
        library.delete_video("b")
    library.close()
    with ClipIndex.open(library.folder) as opened:
        assert len(opened) == 74
    assert json.loads((library.folder / "index.json").read_text())["count"] == 74


def test_refused_additions_change_nothing(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    with pytest.raises(DataError, match="no video 'd'"):
        library.add_vectors(clips(tmp_path / "more", {"d": 5})[0], Manifest([]))
    zero, manifest = clips(tmp_path / "zero", {"d": 5})
    zero.vectors[2] = 0
    with pytest.raises(DataError, match="row 2: the vector is zero"):
        library.add_vectors(zero, manifest)
    assert library.counts("video_id") == {"a": 58, "b": 39, "c": 48}
    assert len(library) == 145


def test_failed_write_leaves_the_open_library_as_it_was(
    filled: tuple[ClipIndex, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, vectors = filled

    def full(self: FaissFlat, path: Path) -> None:
        raise DataError(f"{path} cannot be written (no space left on device): check space and rights")

    with monkeypatch.context() as patch:
        patch.setattr(FaissFlat, "save", full)
        with pytest.raises(DataError, match="no space left"):
            library.delete_video("b")
    assert library.search(vectors.vectors[70], 1)[0].video_id == "b"
    assert library.delete_video("b") == 39


def test_folder_that_does_not_belong_together_is_refused(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library = filled[0]
    library.close()
    folder = library.folder
    with pytest.raises(ConfigError, match="already holds an index"):
        ClipIndex.create(folder, "dual", "hash-a", DIM)
    with pytest.raises(DataError, match="not an index folder"):
        ClipIndex.open(tmp_path)
    whole = MomentTable.read(folder / "base-1.parquet")
    whole.without(["b"]).write(folder / "base-1.parquet")
    with pytest.raises(DataError, match=r"39 vectors of base-1.faiss have no row in base-1\.parquet"):
        ClipIndex.open(folder)
    whole.write(folder / "base-1.parquet")
    head = json.loads((folder / "index.json").read_text())
    for change, message in (
        ({"dim": 8}, "16 dimensions"),
        ({"version": 3}, "version 3, expected 2"),
        ({"extra": 1}, "extra"),
    ):
        (folder / "index.json").write_text(json.dumps({**head, **change}))
        with pytest.raises(DataError, match=message):
            ClipIndex.open(folder)
    (folder / "index.json").write_text(json.dumps(head))
    (folder / "base-1.faiss").write_bytes((folder / "base-1.faiss").read_bytes()[:100])
    with pytest.raises(DataError, match=r"base-1\.faiss has 100 bytes, index\.json says"):
        ClipIndex.open(folder)
    (folder / "base-1.parquet").unlink()
    with pytest.raises(DataError, match=r"base-1\.parquet is missing"):
        ClipIndex.open(folder)


def test_two_open_libraries_write_in_turn(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    with ClipIndex.open(library.folder) as other:
        other.delete_video("b")
        # What was open before goes on with the version that it knows, whole.
        assert "b" in {moment.video_id for moment in library.search(vectors.vectors[70], 50)}
        assert library.counts("video_id") == {"a": 58, "b": 39, "c": 48}
        assert library.delete_video("a") == 58
        assert library.counts("video_id") == {"c": 48}
        with pytest.raises(DataError, match="'b' is not in"):
            library.delete_video("b")
        assert other.delete_video("c") == 48
        assert len(other) == 0


@pytest.mark.slow
def test_many_threads_read_while_one_writes(filled: tuple[ClipIndex, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    more, manifest = clips(tmp_path / "more", {"d": 30}, seed=5)
    wrong: list[object] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for row in rng.integers(0, 60, 20).tolist():
                best = library.search(vectors.vectors[row], 3)[0]
                if (best.video_id, round(best.score, 4)) != ("a", 1.0):
                    wrong.append(best)
        except DataError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        library.add_vectors(more, manifest)
        library.delete_video("d")
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_version_whose_files_go_while_it_is_opened_is_not_the_newest(
    filled: tuple[ClipIndex, Vectors], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, read, calls = filled[0], folder.read_part, [0]

    def read_part(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            # Between two looks at the same file, a writer replaces the version.
            ClipIndex.open(library.folder).delete_video("a")
            raise FileNotFoundError(2, "No such file or directory")
        return read(*given, **named)

    monkeypatch.setattr(version, "read_part", read_part)
    assert "a" not in ClipIndex.open(library.folder).counts("video_id")


def test_empty_library_finds_nothing(tmp_path: Path) -> None:
    library = ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM)
    assert library.search(np.ones(DIM), 3) == []


def test_no_moment_reaches_across_what_is_excluded(tmp_path: Path) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 21}, clip_s=1.0)
    vectors.vectors[:] = vectors.vectors[0]
    library = ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM)
    library.add_vectors(vectors, manifest)
    found = library.search(vectors.vectors[10], 50, exclude=[("a", 10.0, 11.0)])
    assert sorted((moment.start_s, moment.end_s) for moment in found) == [(0.0, 10.0), (11.0, 21.0)]
