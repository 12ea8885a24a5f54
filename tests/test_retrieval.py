"""Retrieval: backends against a plain loop, merging of neighbours, and an index folder that survives kills."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surgvl.retrieval
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.errors import ConfigError, DataError
from surgvl.plugins import discover
from surgvl.retrieval import run
from surgvl.retrieval.base import Exact, Index
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.library import Library
from surgvl.retrieval.moments import merge
from surgvl.retrieval.store import Row, Store, moment_id
from surgvl.vectors import Meta, Vectors, write_meta, write_shard

BACKENDS = list(discover(surgvl.retrieval, Index).values())  # type: ignore[type-abstract]
backends = pytest.mark.parametrize("backend", BACKENDS, ids=[backend.name for backend in BACKENDS])


def unit(rng: np.random.Generator, num: int, dim: int) -> Any:
    vectors = rng.normal(size=(num, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain(vectors: Any, ids: Any, query: Any, k: int, where: set[int] | None = None) -> list[tuple[float, int]]:
    """The definition, in Python: rounded inner product falling, id rising."""
    hits = []
    for vector, name in zip(vectors.tolist(), ids.tolist(), strict=True):
        if where is None or name in where:
            hits.append((-round(sum(a * b for a, b in zip(vector, query.tolist(), strict=True)), 6), name))
    return [(-score, name) for score, name in sorted(hits)[:k]]


# ---- backends


def test_both_backends_are_found() -> None:
    assert [backend.name for backend in BACKENDS] == ["exact", "faiss_flat"]


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


@backends
def test_index_refuses_what_does_not_fit(backend: type[Index]) -> None:
    index = backend(4)
    eye = np.eye(4, dtype=np.float32)
    index.add(eye[:2], [3, 1])
    nan = eye.copy()
    nan[2, 1] = np.nan
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: index.add(eye[:2], [5, 5]), "twice"),
        (lambda: index.add(eye[:2], [9, 3]), "the first 3"),
        (lambda: index.add(nan, [5, 6, 7, 8]), "vector 2 holds NaN"),
        (lambda: index.add(eye[:, :3], [5, 6, 7, 8]), r"shape \(4, 3\)"),
        (lambda: index.add(eye[0], [5]), "shape"),
        (lambda: index.add(eye[:1], [5, 6]), "1 vectors and 2 ids"),
        (lambda: index.add(eye[:1], [-1]), "whole numbers from 0"),
        (lambda: index.add(eye[:1], [1.5]), "whole numbers from 0"),
        (lambda: index.search(nan, 1), "NaN"),
        (lambda: index.search(eye[:, :2], 1), "shape"),
        (lambda: index.vectors_of([2]), "id 2 is not"),
    ]
    for call, message in cases:
        with pytest.raises(DataError, match=message):
            call()
    with pytest.raises(ConfigError, match="k 0"):
        index.search(eye, 0)
    with pytest.raises(ConfigError, match="dim 0"):
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


@backends
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
    (tmp_path / "file").write_bytes(b"not an index at all")
    for path in (tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(DataError, match="make it again"):
            backend.load(path)


# ---- moments


def test_neighbours_become_one_moment() -> None:
    videos = ["a", "a", "b", "a", "a"]
    merged = merge(videos, [10, 12, 10, 40, 8], [14, 16, 14, 44, 12])
    assert merged.best.tolist() == [0, 2, 3]
    assert list(zip(merged.start_s, merged.end_s, strict=True)) == [(8, 16), (10, 14), (40, 44)]


def test_a_hit_between_two_moments_joins_them_unless_they_grow_too_long() -> None:
    assert merge(["a"] * 3, [0, 8, 4], [4, 12, 8], max_s=12).end_s.tolist() == [12]
    assert merge(["a"] * 3, [0, 8, 4], [4, 12, 8], max_s=11).end_s.tolist() == [4, 12]


@pytest.mark.parametrize("seed", range(20))
def test_moments_are_apart_bounded_and_keep_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(1, 120))
    videos, start = rng.integers(0, 3, num), rng.integers(0, 100, num).astype(float)
    length = rng.integers(1, 6, num).astype(float)
    merged = merge(videos, start, start + length, gap_s=1.0, max_s=15.0)
    assert merged.best[0] == 0
    assert (np.diff(merged.best) > 0).all()
    assert (merged.end_s - merged.start_s <= 15).all()
    for one in range(len(merged)):
        at = merged.best[one]
        assert merged.start_s[one] <= start[at] < start[at] + length[at] <= merged.end_s[one]
        for two in range(one):
            if videos[merged.best[two]] == videos[at]:
                apart = max(merged.start_s[one] - merged.end_s[two], merged.start_s[two] - merged.end_s[one])
                assert apart > 1.0
        # Every end of a moment is the end of a hit of its video.
        mine = videos == videos[at]
        assert merged.start_s[one] in start[mine]
        assert merged.end_s[one] in (start + length)[mine]


def test_merging_nothing_and_unequal_lengths() -> None:
    assert len(merge([], [], [])) == 0
    with pytest.raises(DataError, match="one for each hit"):
        merge(["a"], [0, 1], [1, 2])


# ---- the table


def test_moment_ids_never_change_and_tell_everything_apart() -> None:
    assert moment_id("video01", 1.0, 5.0, "abc") == 5424321318087441226
    others = {
        moment_id(*case)
        for case in [
            ("video01", 1.0, 5.0, "abc"),
            ("video1", 1.0, 5.0, "abc"),
            ("video01", 1.001, 5.0, "abc"),
            ("video01", 1.0, 5.001, "abc"),
            ("video01", 1.0, 5.0, "abd"),
        ]
    }
    assert len(others) == 5
    assert all(0 <= name < 2**63 for name in others)
    assert moment_id("video01", 1.0000001, 5.0, "abc") in others


def test_table_refuses_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("this is text, and long enough to be looked at as a database header, is it not?")
    with pytest.raises(DataError, match="not a table of moments"):
        Store(tmp_path / "t")
    with pytest.raises(DataError, match="not counted"):
        Store(tmp_path / "new").counts("path; DROP TABLE moments")


def test_table_takes_many_ids_and_odd_names(tmp_path: Path) -> None:
    store = Store(tmp_path / "t")
    rows = [Row(at, "o'neil; --", "p", at, at + 1, "ä", "s") for at in range(1200)]
    store.put(rows)
    assert store.rows(range(2000)) == {row.id: row for row in rows}
    assert len(store.ids(video="o'neil; --", procedure="ä")) == 1200
    assert store.counts("procedure") == {"ä": 1200}
    store.close()


# ---- the library

DIM = 16


def clips(
    folder: Path, videos: dict[str, int], seed: int = 0, model_hash: str = "hash-a", clip_s: float = 4.0
) -> tuple[Vectors, Manifest]:
    """Random unit vectors, one a second, as `embed` tiles videos of these lengths.

    Windows are pushed into the video, so the first two and the last two seconds share theirs: length - 2 moments.
    """
    rng = np.random.default_rng(seed)
    names, starts = [], []
    for name, length in videos.items():
        names += [name] * length
        starts += [min(max(0.0, k + 0.5 - clip_s / 2), max(0.0, length - clip_s)) for k in range(length)]
    vectors = unit(rng, len(names), DIM)
    same = [at for at in range(1, len(names)) if (names[at], starts[at]) == (names[at - 1], starts[at - 1])]
    vectors[same] = vectors[[at - 1 for at in same]]
    meta = Meta(
        model="dual", model_hash=model_hash, dim=DIM, clip_s=clip_s, stride_s=1, num_vectors=len(names),
        frozen=True, num_trainable=0, pretraining_video_ids=["seen"],
    )  # fmt: skip
    ends = np.array(starts) + clip_s
    write_shard(folder, 0, vectors, names, starts, ends)
    write_meta(folder, meta)
    manifest = Manifest(
        [
            VideoRow(video_id=name, path=f"{name}.mp4", source="made", fps=25, duration_s=length,
                     procedure="even" if length % 2 == 0 else "odd")
            for name, length in videos.items()
        ],
        root=folder,
    )  # fmt: skip
    return Vectors.load(folder), manifest


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Library, Vectors]:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 60, "b": 41, "c": 50})
    library = Library.create(tmp_path / "index", "dual", "hash-a", DIM)
    assert library.add_vectors(vectors, manifest) == 58 + 39 + 48
    return library, vectors


def test_every_clip_finds_itself(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    for row in (0, 30, 59, 60, 150):
        best = library.search(vectors.vectors[row] * 3, 1)[0]
        assert best.video_id == vectors.video_ids[row]
        assert best.start_s <= vectors.start_s[row] < vectors.end_s[row] <= best.end_s
        assert best.score == pytest.approx(1, abs=1e-5)
        assert (best.path, best.source) == (str(tmp_path / "vectors" / f"{best.video_id}.mp4"), "made")


def test_moments_are_distinct_and_k_of_them(filled: tuple[Library, Vectors]) -> None:
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


def test_filters_and_exclusion(filled: tuple[Library, Vectors]) -> None:
    library, vectors = filled
    query = vectors.vectors[20]
    assert {moment.video_id for moment in library.search(query, 4, video="b")} == {"b"}
    assert {moment.video_id for moment in library.search(query, 9, procedure="even")} == {"a", "c"}
    assert {moment.procedure for moment in library.search(query, 4, procedure="odd", source="made")} == {"odd"}
    own = (vectors.video_ids[20], float(vectors.start_s[20]), float(vectors.end_s[20]))
    for moment in library.search(query, 20, exclude=own):
        assert moment.video_id != own[0] or moment.end_s <= own[1] or moment.start_s >= own[2]
    with pytest.raises(ConfigError, match="nothing in .* fits video 'z'.*one of a, b, c"):
        library.search(query, 1, video="z")
    with pytest.raises(ConfigError, match="procedure is one of even, odd"):
        library.search(query, 1, procedure="hip", source="made")


def test_best_hit_equals_exact_search(filled: tuple[Library, Vectors]) -> None:
    library, vectors = filled
    exact = Exact(DIM)
    exact.add(vectors.vectors, np.arange(len(vectors.vectors)))
    for query in unit(np.random.default_rng(9), 20, DIM):
        row = int(exact.search(query[None], 1)[1][0, 0])
        best = library.search(query, 1)[0]
        assert best.video_id == vectors.video_ids[row]
        assert best.start_s <= vectors.start_s[row] <= best.end_s


def test_stored_vector_of_a_time(filled: tuple[Library, Vectors]) -> None:
    library, vectors = filled
    vector, start_s, end_s = library.vector_at("b", 20.5)
    assert np.allclose(vector, vectors.vectors[60 + 20], atol=1e-3)
    assert (start_s, end_s) == (18.5, 22.5)
    for name, time_s, message in (("z", 1.0, "'z' is not in"), ("b", 99.0, "from 0.0 to 41.0 s")):
        with pytest.raises(DataError, match=message):
            library.vector_at(name, time_s)


def test_refused_queries(filled: tuple[Library, Vectors]) -> None:
    library = filled[0]
    for vector, message in ((np.zeros(DIM), "zero"), (np.full(DIM, np.nan), "NaN"), (np.ones(3), "shape")):
        with pytest.raises(DataError, match=message):
            library.search(vector, 1)
    with pytest.raises(ConfigError, match="k 0"):
        library.search(np.ones(DIM), 0)


def test_vectors_of_another_encoder_are_refused(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
    library = filled[0]
    with pytest.raises(DataError, match=r"hash-a.*is hash-b.*cannot be compared"):
        library.add_vectors(*clips(tmp_path / "other", {"d": 5}, model_hash="hash-b"))
    with pytest.raises(DataError, match="the query's model is hash-b"):
        Library.open(library.folder, model_hash="hash-b")
    with Library.open(library.folder, model_hash="hash-a") as again:
        assert len(again) == 145


def test_add_again_replaces_and_delete_removes(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
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
    with Library.open(library.folder) as opened:
        assert len(opened) == 74
        assert opened.unfinished() == []
    assert json.loads((library.folder / "index.json").read_text())["count"] == 74


def test_refused_additions_change_nothing(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    with pytest.raises(DataError, match="no video 'd'"):
        library.add_vectors(clips(tmp_path / "more", {"d": 5})[0], Manifest([]))
    zero, manifest = clips(tmp_path / "zero", {"d": 5})
    zero.vectors[2] = 0
    with pytest.raises(DataError, match="row 2: the vector is zero"):
        library.add_vectors(zero, manifest)
    assert library.counts("video_id") == {"a": 58, "b": 39, "c": 48}
    assert len(library) == 145


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def kill(*args: object) -> None:
    raise Killed


@pytest.mark.parametrize("where", ["index", "rows", "head"])
@pytest.mark.parametrize("act", ["add", "delete"])
def test_killed_write_leaves_a_usable_folder(
    filled: tuple[Library, Vectors], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, act: str
) -> None:
    library, vectors = filled
    more, manifest = clips(tmp_path / "more", {"a": 30, "d": 12}, seed=5)
    with monkeypatch.context() as patch:
        if where == "index":
            patch.setattr(FaissFlat, "save", kill)
        elif where == "rows":
            patch.setattr(Store, "delete", kill)
        else:
            patch.setattr("surgvl.retrieval.library.write_head", kill)
        with pytest.raises(Killed):
            _ = library.add_vectors(more, manifest) if act == "add" else library.delete_video("b")
    library.close()
    with Library.open(library.folder) as again:
        done = where != "index"
        want = {"a": 28, "b": 39, "c": 48, "d": 10} if act == "add" and done else {"a": 58, "b": 39, "c": 48}
        if act == "delete" and done:
            del want["b"]
        assert len(again) == sum(want.values())
        found = again.search(vectors.vectors[70], 200)
        assert {moment.video_id for moment in found} == set(want)
        left = {("index", "add"): ["a", "d"], ("rows", "add"): ["a"], ("rows", "delete"): ["b"]}
        assert again.unfinished() == left.get((where, act), [])
        # The same command once more brings the folder to where it was going.
        again.add_vectors(more, manifest)
        if "b" in again.counts("video_id"):
            again.delete_video("b")
        assert again.counts("video_id") == {"a": 28, "c": 48, "d": 10}
        assert again.unfinished() == []


def test_failed_write_leaves_the_open_library_as_it_was(
    filled: tuple[Library, Vectors], monkeypatch: pytest.MonkeyPatch
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


def test_folder_that_does_not_belong_together_is_refused(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
    library = filled[0]
    library.close()
    folder = library.folder
    with pytest.raises(ConfigError, match="holds an index already"):
        Library.create(folder, "dual", "hash-a", DIM)
    with pytest.raises(DataError, match="not an index folder"):
        Library.open(tmp_path)
    store = Store(folder / "moments.sqlite")
    store.delete(store.ids(video="b"))
    store.close()
    with pytest.raises(DataError, match="39 vectors of index.faiss have no row"):
        Library.open(folder)
    head = json.loads((folder / "index.json").read_text())
    for change, message in (({"dim": 8}, "16 dimensions"), ({"version": 2}, "version 2"), ({"extra": 1}, "extra")):
        (folder / "index.json").write_text(json.dumps({**head, **change}))
        with pytest.raises(DataError, match=message):
            Library.open(folder)
    (folder / "index.json").write_text(json.dumps(head))
    (folder / "index.faiss").write_bytes((folder / "index.faiss").read_bytes()[:100])
    with pytest.raises(DataError, match="not a FAISS index"):
        Library.open(folder)
    (folder / "moments.sqlite").unlink()
    with pytest.raises(DataError, match=r"moments\.sqlite is not there"):
        Library.open(folder)


def test_two_writers_do_not_lose_each_others_work(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    with Library.open(library.folder) as other:
        other.delete_video("b")
        with pytest.raises(DataError, match="changed by another process"):
            library.delete_video("a")
        # A reader that was open goes on, without the video that is gone.
        assert "b" not in {moment.video_id for moment in library.search(vectors.vectors[70], 50)}
        assert other.counts("video_id") == {"a": 58, "c": 48}


def test_many_threads_read_while_one_writes(filled: tuple[Library, Vectors], tmp_path: Path) -> None:
    library, vectors = filled
    more, manifest = clips(tmp_path / "more", {"d": 30}, seed=5)
    wrong: list[object] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for row in rng.integers(0, 60, 40).tolist():
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


def test_empty_library_finds_nothing(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "index", "dual", "hash-a", DIM)
    assert library.search(np.ones(DIM), 3) == []


# ---- commands


def test_index_and_search_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 30, "b": 31})
    manifest.save(tmp_path / "manifest")
    out = tmp_path / "index"
    run.index(out, tmp_path / "vectors", tmp_path / "manifest")
    assert "57 vectors added, 57 of 2 videos" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text())["pretraining_video_ids"] == ["seen"]
    found = run.search(index=out, like="a@12.5", k=3)
    text = capsys.readouterr().out
    assert len(found) == 3
    assert [line.split()[2] for line in text.splitlines()[1:4]] == [moment.video_id for moment in found]
    assert text.splitlines()[0].split() == ["score", "video", "from", "to", "procedure", "source"]
    # The moment itself is not its own answer.
    assert all(m.video_id != "a" or m.end_s <= 10.5 or m.start_s >= 14.5 for m in found)
    assert {moment.video_id for moment in run.search(index=out, like="a@12.5", video="b")} == {"b"}
    with pytest.raises(ConfigError, match="not empty"):
        run.index(out, tmp_path / "vectors", tmp_path / "manifest")
    run.index(out, tmp_path / "vectors", tmp_path / "manifest", resume=True)
    run.index(out, delete="a")
    assert "28 vectors of a taken out, 29 left" in capsys.readouterr().out


def test_commands_refuse(tmp_path: Path) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 10})
    manifest.save(tmp_path / "manifest")
    out = tmp_path / "index"
    run.index(out, tmp_path / "vectors", tmp_path / "manifest")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: run.index(out), "are needed to add"),
        (lambda: run.index(out, tmp_path, delete="a"), "delete first"),
        (lambda: run.search(index=out), "one of them"),
        (lambda: run.search("a", index=out, like="a@1"), "one of them"),
        (lambda: run.search(index=out, like="a"), "write for example"),
        (lambda: run.search(index=out, like="a@-3"), "write for example"),
    ]
    for call, message in cases:
        with pytest.raises(ConfigError, match=message):
            call()
    with pytest.raises(DataError, match="neither a video of .* nor a file"):
        run.search(index=out, like="zz@1")
    with pytest.raises(DataError, match="not an index folder"):
        run.search("a sentence", index=tmp_path / "nowhere")
