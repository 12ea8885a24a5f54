"""Nested clusters: made blobs are recovered, k-means is as good as scikit-learn's, the file, and balanced draws."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans

from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.clips import PretrainClips
from surgvl.data.clusters import Clusters
from surgvl.data.frame_store import FrameStore
from surgvl.data.sampler import ClipConfig
from surgvl.embed.cluster import cluster, hierarchy, initial_centres, k_means
from surgvl.embed.meta import Meta, write_meta
from surgvl.embed.vectors import write_shard
from surgvl.video.clip import Preprocess
from tests.helpers.made_vectors import clips as made_clips
from tests.helpers.made_vectors import unit

DIM = 24
# Groups of groups, the largest 20 times the smallest.
SIZES = ((200, 10, 60), (15, 10), (100, 40, 10, 25))


def blobs(spread: float = 0.01) -> tuple[Any, Any]:
    """Directions around directions: unit vectors [N, DIM] and which (coarse, fine) blob each is of, int [N, 2]."""
    dice = np.random.default_rng(0)
    coarse = unit(dice, len(SIZES), DIM)
    vectors, labels = [], []
    for number, (centre, sizes) in enumerate(zip(coarse, SIZES, strict=True)):
        for size in sizes:
            fine = centre + 0.25 * unit(dice, 1, DIM)[0]
            vectors.append(fine + spread * dice.normal(size=(size, DIM)) / DIM**0.5)
            labels += [(number, len(vectors) - 1)] * size
    found = np.concatenate(vectors).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True), np.array(labels)


def same_parts(one: Any, other: Any) -> bool:
    """Whether two numberings put the same rows together."""
    pairs = len(np.unique(np.stack([one, other]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


# ---- clustering


@pytest.mark.parametrize("seed", range(4))
def test_separate_blobs_are_found_as_they_were_made(seed: int) -> None:
    vectors, labels = blobs()
    order = np.random.default_rng(seed).permutation(len(vectors))
    found = hierarchy(vectors[order], (3, 3), seed)
    assert found.shape == (len(vectors), 2)
    assert found.dtype == np.int64
    assert same_parts(found[:, 1], labels[order, 1])
    assert same_parts(found[:, 0], labels[order, 0])
    assert sorted(set(found[:, 0])) == [0, 1, 2]
    assert sorted(set(found[:, 1])) == list(range(9))


@pytest.mark.slow
def test_clusters_are_nested_at_any_depth() -> None:
    vectors = unit(np.random.default_rng(1), 600, DIM)
    found = hierarchy(vectors, (2, 3, 4), 0)
    for coarse, fine in ((0, 1), (1, 2)):
        parents = {(a, b) for a, b in zip(found[:, coarse].tolist(), found[:, fine].tolist(), strict=True)}
        assert len(parents) == len(set(found[:, fine]))
    assert [len(set(column)) for column in found.T] == [2, 6, 24]
    assert np.array_equal(found, hierarchy(vectors, (2, 3, 4), 0))
    assert not np.array_equal(found, hierarchy(vectors, (2, 3, 4), 1))


@pytest.mark.slow
def test_no_worse_than_another_k_means() -> None:
    points = np.random.default_rng(2).normal(size=(700, 8)).astype(np.float32)
    cells, centres = k_means(points, 12, 0)
    error = ((points - centres[cells]) ** 2).sum()
    theirs = KMeans(12, n_init=3, random_state=0).fit(points).inertia_
    assert error < 1.02 * theirs
    np.testing.assert_allclose(centres[3], points[cells == 3].mean(0), atol=0.05)
    assert (((points[:, None] - centres) ** 2).sum(2).argmin(1) == cells).mean() > 0.999


def test_fewer_points_than_clusters_leave_no_empty_cell() -> None:
    # Ten copies each of three points.
    three = np.eye(3, DIM, dtype=np.float32)
    found = hierarchy(np.repeat(three, 10, 0), (4, 5), 0)
    assert same_parts(found[:, 1], np.arange(30) // 10)
    assert found.max() == 2
    assert hierarchy(three[:1], (8, 4), 0).tolist() == [[0, 0]]
    assert len(initial_centres(np.repeat(three, 10, 0), 20, np.random.default_rng(0))) == 3


@pytest.mark.parametrize("levels", [(), (0,), (3, -1)])
def test_levels_are_numbers_of_clusters(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="levels must be >= 1"):
        hierarchy(np.eye(4), levels)


# ---- the file


def test_round_trip_and_nearest_rows(tmp_path: Path) -> None:
    groups = np.array([[0, 0], [0, 1], [1, 2], [1, 2], [0, 1]])
    given = Clusters(["b", "a", "a", "b", "a"], np.array([0.0, 4, 0, 2, 2]), np.array([2.0, 6, 2, 4, 4]), groups)
    given.save(tmp_path / "c.parquet", seed=3)
    found = Clusters.load(tmp_path / "c.parquet")
    assert found.video_ids == given.video_ids
    assert np.array_equal(found.groups, groups)
    assert np.array_equal(found.end_s, given.end_s)
    assert json.loads(pq.read_schema(tmp_path / "c.parquet").metadata[b"surgvl"]) == {"seed": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["c.parquet"]
    # Middles: a at 1, 3 and 5 (rows 2, 4, 1), b at 1 and 3 (rows 0, 3).
    asked = [("a", 0.0), ("b", 1.9), ("a", 2.1), ("a", 99.0), ("b", 2.1), ("a", 3.9)]
    at = found.at([video_id for video_id, _ in asked], [time_s for _, time_s in asked])
    assert at.tolist() == groups[[2, 0, 4, 1, 3, 4]].tolist()
    with pytest.raises(DataError, match="no clusters for video 'c' and 1 more: embed all videos"):
        found.at(["a", "d", "c"], [0, 0, 0])


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello")
    pq.write_table(pa.table({"video_id": ["a"], "start_s": [0.0], "end_s": [1.0]}), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"text\.parquet is not a file of clusters"):
        Clusters.load(tmp_path / "text.parquet")
    with pytest.raises(DataError, match=r"has 1 rows of video_id, start_s, end_s; expected are rows of video_id"):
        Clusters.load(tmp_path / "bare.parquet")


# ---- the command, and what is drawn


def write_blobs(folder: Path) -> tuple[FrameStore, dict[str, int]]:
    """Vectors of blobs as `embed` writes them, a video for each, one vector a second; the clips and their counts."""
    vectors, labels = blobs()
    ids = [f"video{blob:02d}" for _, blob in labels]
    start_s = np.concatenate([np.arange(size) for sizes in SIZES for size in sizes]).astype(float)
    write_shard(folder, 0, vectors, ids, start_s, start_s + 1)
    meta = Meta(
        model="dual", model_hash="hash", dim=DIM, clip_s=1.0, stride_s=1.0, num_vectors=len(vectors), frozen=True,
        num_trainable=0,
    )  # fmt: skip
    write_meta(folder, meta)
    counts = {name: ids.count(name) for name in dict.fromkeys(ids)}
    store = FrameStore({}, Preprocess(num_frames=4, fps=4.0, size_px=8))
    store.durations_s = {name: float(count) for name, count in counts.items()}
    return store, counts


@pytest.mark.slow
def test_draws_are_even_over_blobs_whatever_their_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, counts = write_blobs(tmp_path / "vectors")
    out = tmp_path / "clusters.parquet"
    words = f"data cluster --vectors {tmp_path}/vectors --out {out} --levels 3 3 --seed 1"
    assert cli.main(shlex.split(words)) == 0
    first, after = capsys.readouterr().out.splitlines()
    assert first == f"470 vectors in 3, then 9 clusters in {out}"
    assert f"--clusters {out}" in after

    data = PretrainClips(store, list(counts), 0, config=ClipConfig(balance="cluster", clusters=out))
    assert len(data.rows) == 470
    # A third for each group of groups, in it an equal part for each blob: 470 / 9, 470 / 6 or 470 / 12.
    parts = [470 / 3 / len(sizes) for sizes in SIZES for _ in sizes]
    drawn = [data.numbers(index)[0] for index in range(470)]
    assert np.abs(np.array([drawn.count(name) for name in counts]) - parts).max() < 1
    # One level alone: all blobs alike, although one has 20 times the clips of another.
    cluster(tmp_path / "vectors", tmp_path / "flat.parquet", (9,))
    config = ClipConfig(balance="cluster", clusters=tmp_path / "flat.parquet")
    flat = PretrainClips(store, list(counts), 0, config=config)
    drawn = [flat.numbers(index)[0] for index in range(470)]
    assert np.abs(np.array([drawn.count(name) for name in counts]) - 470 / 9).max() < 1
    plain = PretrainClips(store, list(counts), 0)
    assert [plain.numbers(index)[0] for index in range(470)].count("video00") == 200


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_clips(tmp_path / "vectors", {"a": 6})
    (tmp_path / "there.parquet").touch()
    for words, message in (
        (
            f"--vectors {tmp_path}/vectors --out {tmp_path}/there.parquet",
            "already exists: give the name",
        ),
        (f"--vectors {tmp_path}/vectors --out {tmp_path}/folder", "does not end in .parquet"),
        (f"--vectors {tmp_path}/none --out {tmp_path}/new.parquet", "has no vectors.json"),
        (
            f"--vectors {tmp_path}/vectors --out {tmp_path}/new.parquet --levels 0",
            "levels must be >= 1, such as 8 4, got [0]",
        ),
    ):
        assert cli.main(shlex.split(f"data cluster {words}")) == 1
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.parquet", "vectors"]
