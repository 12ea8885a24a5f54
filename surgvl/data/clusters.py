"""Clips in nested clusters, for sampling that is even over what is seen: hierarchical k-means on embeddings (FAISS).

After Vo et al. (arXiv 2405.15613): k-means on the vectors gives the finest clusters, k-means on their centres, one each
whatever its size, the coarser ones. SurgRec (arXiv 2603.29966) says that it balances by clusters; features, levels and
numbers are unknown, those here are ours.

A file of clusters is Parquet, a row for each vector: video_id, start_s, end_s, cluster_0 (coarsest), cluster_1, ...;
numbers are unique in a level, count from 0 without gaps, and each cluster lies in one of the level above.
Shapes: N vectors, E their width, K clusters, L levels.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic, command_line, commit
from surgvl.embed.vectors import Vectors, unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ROUNDS = 25
TRIES = 3
# Centres are first looked for among so many points at most, at random.
SEED_POINTS = 50_000


@dataclass(frozen=True)
class Clusters:
    """A file of clusters in memory.

    Attributes:
        video_ids: [N].
        start_s: float64 [N], seconds.
        end_s: float64 [N].
        groups: int64 [N, L], from coarse to fine.
    """

    video_ids: list[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    groups: Ints

    @classmethod
    def load(cls, path: Path | str) -> "Clusters":
        """Read a file that `save` wrote.

        Raises:
            DataError: it is absent, not such a file, or has no rows.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            first = str(error).splitlines()[0]
            raise DataError(f"{path} is no file of clusters ({first}): make it with `surgvl data cluster`") from error
        names = table.column_names
        levels = [f"cluster_{level}" for level in range(len(names) - 3)]
        nulls = any(column.null_count for column in table.columns)
        if not levels or names != ["video_id", "start_s", "end_s", *levels] or not len(table) or nulls:
            raise DataError(
                f"{path} has {len(table)} rows of {', '.join(names)}, not of video_id, start_s, end_s, cluster_0, ...: "
                "make it with `surgvl data cluster`"
            )
        groups = np.stack([table[name].to_numpy() for name in levels], axis=1).astype(np.int64)
        return cls(table["video_id"].to_pylist(), table["start_s"].to_numpy(), table["end_s"].to_numpy(), groups)

    def save(self, path: Path | str, **facts: Any) -> None:
        """Write the file atomically, with JSON facts about its making in the schema's metadata under `surgvl`."""
        columns = {"video_id": self.video_ids, "start_s": self.start_s, "end_s": self.end_s}
        levels = {f"cluster_{level}": numbers for level, numbers in enumerate(self.groups.T)}
        table = pa.table(columns | levels).replace_schema_metadata({"surgvl": json.dumps(facts)})
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def at(self, video_ids: Sequence[str], times_s: ArrayLike) -> Ints:
        """Clusters of the row whose middle is nearest to each time: int64 [Q, L].

        Args:
            video_ids: [Q].
            times_s: seconds, [Q].

        Raises:
            DataError: a video has no row.
        """
        wanted, times = np.asarray(video_ids, np.str_), np.asarray(times_s, np.float64)
        mine, middle = np.asarray(self.video_ids, np.str_), (self.start_s + self.end_s) / 2
        if lost := sorted(set(wanted.tolist()) - set(mine.tolist())):
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise DataError(
                f"no clusters for video {lost[0]!r}{more}: embed all videos to train on, then `surgvl data cluster`"
            )
        found = np.empty((len(wanted), self.groups.shape[1]), np.int64)
        rows, queries = np.lexsort((middle, mine)), np.argsort(wanted, kind="stable")
        names = np.unique(wanted)
        of_row, of_query = mine[rows], wanted[queries]
        row_edges = np.stack([np.searchsorted(of_row, names, side) for side in ("left", "right")], 1)
        query_edges = np.stack([np.searchsorted(of_query, names, side) for side in ("left", "right")], 1)
        for (first, end), (begin, stop) in zip(row_edges.tolist(), query_edges.tolist(), strict=True):
            here, asked = rows[first:end], queries[begin:stop]
            between = (middle[here][1:] + middle[here][:-1]) / 2
            found[asked] = self.groups[here[np.searchsorted(between, times[asked])]]
        return found


def seeds(points: Floats, num_clusters: int, rng: np.random.Generator) -> Floats:
    """First centres by greedy k-means++ (Arthur and Vassilvitskii 2007): far points are likely, the best of some taken.

    Args:
        points: float32 [N, E].
        num_clusters: K.
        rng: draws the candidates.

    Returns:
        float32 [K, E]; fewer where there are fewer different points.
    """
    trials = 2 + int(np.log(num_clusters))
    chosen = [int(rng.integers(len(points)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(1, dtype=np.float64)
    while len(chosen) < num_clusters and nearest.sum() > 0:
        candidates = rng.choice(len(points), trials, p=nearest / nearest.sum())
        closer = [np.minimum(nearest, ((points - points[at]) ** 2).sum(1, dtype=np.float64)) for at in candidates]
        best = int(np.argmin([each.sum() for each in closer]))
        chosen.append(int(candidates[best]))
        nearest = closer[best]
    return points[chosen]


def k_means(points: Floats, num_clusters: int, seed: int) -> tuple[Ints, Floats]:
    """Lloyd's k-means by FAISS, the best of `TRIES` starts.

    Args:
        points: float32 [N, E].
        num_clusters: K; fewer come back where there are fewer different points or a cell stays empty.
        seed: of the starts.

    Returns:
        Cluster of each point, int64 [N], numbered from 0 without gaps, and centres float32 [K, E].
    """
    import faiss

    points = np.ascontiguousarray(points, np.float32)
    best: tuple[float, Ints, Floats] | None = None
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, attempt])
        few = points if len(points) <= SEED_POINTS else points[rng.choice(len(points), SEED_POINTS, replace=False)]
        first = seeds(few, num_clusters, rng)
        # All points count, and few of them are no reason for FAISS to warn.
        engine = faiss.Kmeans(
            points.shape[1], len(first), niter=ROUNDS, seed=seed, min_points_per_centroid=1,
            max_points_per_centroid=len(points),
        )  # fmt: skip
        engine.train(points, init_centroids=first)
        distances, cells = engine.assign(points)
        error = float(np.asarray(distances, np.float64).sum())
        if best is None or error < best[0]:
            best = error, np.asarray(cells, np.int64), np.asarray(engine.centroids, np.float32)
    assert best is not None
    filled, cells = np.unique(best[1], return_inverse=True)
    return np.asarray(cells, np.int64), best[2][filled]


def hierarchy(vectors: ArrayLike, levels: Sequence[int], seed: int = 0) -> Ints:
    """Nested clusters of unit vectors: int64 [N, L], from coarse to fine.

    Args:
        vectors: [N, E]; brought to unit length.
        levels: how many clusters lie in one of the level above, from coarse to fine, on average: (8, 4) makes up to 32
            fine ones in up to 8. How many there are in each follows from the data.
        seed: the same seed gives the same clusters.

    Raises:
        ConfigError: a level below 1, or none.
        DataError: there is no vector.
    """
    if not levels or min(levels) < 1:
        raise ConfigError(f"levels {list(levels)} are no numbers of clusters: give 1 or more for each, such as 8 4")
    points = unit(vectors)
    if not len(points):
        raise DataError("there is no vector to cluster: embed some videos first")
    found: list[Ints] = []
    for level in reversed(range(len(levels))):
        cells, points = k_means(points, int(np.prod(levels[: level + 1])), seed)
        # Points of a coarser level are the clusters of the one below it.
        found.insert(0, cells[found[0]] if found else cells)
    return np.stack(found, axis=1)


def cluster(vectors: Path, out: Path, levels: tuple[int, ...] = (8, 4), seed: int = 0) -> Clusters:
    """Cluster a vectors folder and write the file.

    Args:
        vectors: vectors folder (surgvl embed).
        out: file to write, ending in .parquet.
        levels: see `hierarchy`.
        seed: of the clustering.

    Raises:
        ConfigError: `out` is there or has another ending, or a level is below 1.
        DataError: the vectors cannot be read.
    """
    if out.suffix != ".parquet" or out.exists():
        fact = "is there already" if out.exists() else "does not end in .parquet"
        raise ConfigError(f"--out {out} {fact}: give the name of a new file, such as clusters.parquet")
    given = Vectors.load(vectors)
    found = Clusters(given.video_ids, given.start_s, given.end_s, hierarchy(given.vectors, levels, seed))
    facts = {"levels": list(levels), "seed": seed, "model": given.meta.model, "model_hash": given.meta.model_hash}
    found.save(out, **facts, command=command_line(), commit=commit())
    return found
