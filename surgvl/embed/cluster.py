"""Hierarchical k-means of vectors (FAISS).

After Vo et al. (arXiv 2405.15613): k-means on the vectors gives the finest clusters, k-means on their centres the
coarser ones. SurgRec (arXiv 2603.29966) balances by clusters, but does not state features, levels and numbers; those
here are ours.
Shapes: N vectors, E their width, K clusters, L levels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float32Array, Int64Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.invocation import command_line
from surgvl.core.version import commit
from surgvl.data.clusters import Clusters
from surgvl.embed.vectors import Vectors, unit

ROUNDS = 25
TRIES = 3
# Initial centres are chosen from a random sample of at most this many points.
SEED_POINTS = 50_000


def initial_centres(points: Float32Array, num_clusters: int, rng: np.random.Generator) -> Float32Array:
    """Initial centres by greedy k-means++ (Arthur and Vassilvitskii, 2007): the best of a few distance-weighted draws.

    Args:
        points: float32 [N, E].
        num_clusters: K.
        rng: random generator.

    Returns:
        float32 [K, E]; fewer if there are fewer distinct points.
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


def k_means(points: Float32Array, num_clusters: int, seed: int) -> tuple[Int64Array, Float32Array]:
    """Lloyd's k-means by FAISS, the best of `TRIES` initialisations.

    Args:
        points: float32 [N, E].
        num_clusters: K; fewer are returned if there are fewer distinct points or a cluster stays empty.
        seed: of the initialisations.

    Returns:
        Cluster index of each point, int64 [N], without gaps, and centres float32 [K, E].
    """
    import faiss

    points = np.ascontiguousarray(points, np.float32)
    best: tuple[float, Int64Array, Float32Array] | None = None
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, attempt])
        few = points if len(points) <= SEED_POINTS else points[rng.choice(len(points), SEED_POINTS, replace=False)]
        first = initial_centres(few, num_clusters, rng)
        # Use all points, and no warning where there are few.
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


def hierarchy(vectors: ArrayLike, levels: Sequence[int], seed: int = 0) -> Int64Array:
    """Nested cluster indices of unit vectors: int64 [N, L], from coarse to fine.

    Args:
        vectors: [N, E]; normalised to unit length.
        levels: average number of clusters within one of the level above, from coarse to fine: (8, 4) makes up to 32
            fine clusters in up to 8 coarse ones.
        seed: the same seed gives the same clusters.

    Raises:
        ConfigError: a level below 1, or no levels.
        DataError: no vectors.
    """
    if not levels or min(levels) < 1:
        raise ConfigError(f"levels must be >= 1, such as 8 4, got {list(levels)}")
    points = unit(vectors)
    if not len(points):
        raise DataError("no vectors to cluster: embed some videos first")
    found: list[Int64Array] = []
    for level in reversed(range(len(levels))):
        cells, points = k_means(points, int(np.prod(levels[: level + 1])), seed)
        # The points of a coarser level are the centres of the one below.
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
        ConfigError: `out` exists or does not end in .parquet, or a level is below 1.
        DataError: the vectors cannot be read.
    """
    if out.suffix != ".parquet" or out.exists():
        fact = "already exists" if out.exists() else "does not end in .parquet"
        raise ConfigError(f"--out {out} {fact}: give the name of a new file, such as clusters.parquet")
    given = Vectors.load(vectors)
    found = Clusters(given.video_ids, given.start_s, given.end_s, hierarchy(given.vectors, levels, seed))
    facts = {"levels": list(levels), "seed": seed, "model": given.meta.model, "model_hash": given.meta.model_hash}
    found.save(out, **facts, command=command_line(), commit=commit())
    return found
