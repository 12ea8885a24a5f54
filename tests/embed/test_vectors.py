"""The vectors folder: round trip, order, centres of clips, and folders that must not be read."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.files import read_json, write_json
from surgvl.embed.meta import Meta, PromptSetFacts, write_meta
from surgvl.embed.vectors import Texts, Vectors, index_in_video, unit, write_shard, write_texts


def meta(num_vectors: int, dim: int = 4, clip_s: float = 1.0) -> Meta:
    return Meta(
        model="model",
        model_hash="0",
        dim=dim,
        clip_s=clip_s,
        stride_s=1.0,
        num_vectors=num_vectors,
        frozen=True,
        num_trainable=0,
        pretraining_video_ids=["a"],
        prompt_sets={"mine": PromptSetFacts(version=2)},
    )


def texts(dim: int = 4) -> Texts:
    vectors = np.random.default_rng(1).normal(size=(3, dim)).astype(np.float32)
    return Texts(vectors, ["mine"] * 3, [1, 0, 1], ["B", "A", "B"], ["b", "a", "bb"])


def folder(path: Path) -> NDArray[np.float64]:
    values = np.random.default_rng(0).normal(size=(5, 4))
    write_shard(path, 0, values[:2], ["a", "a"], [0, 1], [1, 2])
    write_shard(path, 1, values[2:], ["a", "b", "b"], [2, 0, 1], [3, 1, 2])
    write_texts(path, texts())
    write_meta(path, meta(5))
    return values


def test_round_trip(tmp_path: Path) -> None:
    values = folder(tmp_path)
    found = Vectors.load(tmp_path)
    np.testing.assert_array_equal(found.vectors, values.astype(np.float16).astype(np.float32))
    assert found.vectors.dtype == np.float32
    assert found.video_ids == ["a", "a", "a", "b", "b"]
    assert found.start_s.tolist() == [0, 1, 2, 0, 1]
    assert found.meta == meta(5)
    assert found.texts is not None
    assert found.texts.prompts == ["b", "a", "bb"]
    np.testing.assert_array_equal(found.texts.vectors, texts().vectors)
    assert not [path for path in tmp_path.iterdir() if ".tmp" in path.name]


def test_class_vectors_are_means_of_unit_vectors() -> None:
    names, vectors = texts().classes("mine")
    assert names == ["A", "B"]
    given = texts().vectors.astype(np.float64)
    lengths = np.sqrt((given**2).sum(1))
    mean = (given[0] / lengths[0] + given[2] / lengths[2]) / 2
    np.testing.assert_allclose(vectors[1], mean / np.sqrt((mean**2).sum()), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_class_vectors_refuse_gaps_and_double_names() -> None:
    vectors = np.eye(2, 4, dtype=np.float32)
    with pytest.raises(DataError, match="'other' is not among the embedded ones \\(mine\\)"):
        texts().classes("other")
    with pytest.raises(DataError, match="have gaps"):
        Texts(vectors, ["s", "s"], [0, 2], ["A", "C"], ["a", "c"]).classes("s")
    with pytest.raises(DataError, match="'A' and 'B'"):
        Texts(vectors, ["s", "s"], [0, 0], ["A", "B"], ["a", "b"]).classes("s")


@pytest.mark.parametrize("clip_s", [1.0, 2.0, 4.0, 9.0])
@pytest.mark.parametrize("edges", ["pushed", "cut", "centred"])
def test_a_clip_stands_for_its_second_however_its_window_meets_the_ends(clip_s: float, edges: str) -> None:
    duration_s = 20.0
    centre = np.arange(20) + 0.5
    start, end = centre - clip_s / 2, centre + clip_s / 2
    if edges == "pushed":
        start = np.clip(start, 0, duration_s - clip_s)
        end = start + clip_s
    elif edges == "cut":
        start, end = np.maximum(start, 0), np.minimum(end, duration_s)
    else:
        half = np.minimum(clip_s / 2, np.minimum(centre, duration_s - centre))
        start, end = centre - half, centre + half
    starts, ends = np.asarray(start, np.float64), np.asarray(end, np.float64)
    found = Vectors(np.zeros((20, 4), np.float32), ["a"] * 20, starts, ends, meta(20, clip_s=clip_s))
    np.testing.assert_allclose(found.times_s, centre)


def test_clips_that_do_not_tile_stand_for_their_middle() -> None:
    start = np.array([5.0, 6.0, 0.0, 1.0])
    found = Vectors(np.zeros((4, 4), np.float32), ["a", "a", "b", "b"], start, start + 1, meta(4))
    assert found.times_s.tolist() == [5.5, 6.5, 0.5, 1.5]


def test_places_count_within_videos() -> None:
    assert index_in_video(["b", "a", "b", "b", "a"]).tolist() == [0, 0, 1, 2, 1]
    assert index_in_video([]).tolist() == []


def test_unit_keeps_zero_rows() -> None:
    np.testing.assert_allclose(unit([[3.0, 4.0], [0.0, 0.0]]), [[0.6, 0.8], [0.0, 0.0]])


def test_unfinished_or_damaged_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no vectors\.json"):
        Vectors.load(tmp_path)
    folder(tmp_path)
    shard = tmp_path / "shard-00001.safetensors"
    whole = shard.read_bytes()

    shard.write_bytes(whole[:40])
    with pytest.raises(DataError, match="shard-00001"):
        Vectors.load(tmp_path)
    shard.unlink()
    with pytest.raises(DataError, match="shard-00001"):
        Vectors.load(tmp_path)
    shard.with_suffix(".parquet").unlink()
    with pytest.raises(DataError, match=r"holds 2 vectors, its vectors\.json says 5"):
        Vectors.load(tmp_path)
    record = read_json(tmp_path / "vectors.json")
    write_json(tmp_path / "vectors.json", {**record, "num_vectors": 2, "dim": 3})
    with pytest.raises(DataError, match=r"must have shape \(2, 3\), got \(2, 4\)"):
        Vectors.load(tmp_path)
    write_json(tmp_path / "vectors.json", {**record, "colour": 1})
    with pytest.raises(DataError, match="colour: Extra"):
        Vectors.load(tmp_path)


def test_rows_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one row per vector"):
        write_shard(tmp_path, 0, np.zeros((3, 4)), ["a", "b"], [0, 1], [1, 2])
    with pytest.raises(DataError, match="vector 1 is not finite in float16"):
        write_shard(tmp_path, 0, np.array([[1.0], [np.nan]]), ["a", "b"], [0, 1], [1, 2])
    assert not list(tmp_path.iterdir())


def test_windows_that_are_none(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, np.ones((2, 4)), ["a", "a"], [0, 3], [1, 2])
    write_meta(tmp_path, meta(2))
    with pytest.raises(DataError, match=r"row 1: window 3\.0-2\.0 s is empty"):
        Vectors.load(tmp_path)


def test_an_empty_folder_of_vectors(tmp_path: Path) -> None:
    write_meta(tmp_path, meta(0))
    found = Vectors.load(tmp_path)
    assert found.vectors.shape == (0, 4)
    assert found.times_s.shape == (0,)
