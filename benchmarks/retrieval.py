"""Query time and recall of the flat index next to NumPy and HNSW, on clustered vectors like those of few scenes.

python benchmarks/retrieval.py [--sizes 10000 100000 200000]
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from surgvl.core.tables import plain_table
from surgvl.retrieval.faiss_flat import FaissFlat

DIM, K, NUM_QUERIES = 256, 10, 100


def clustered(num: int, rng: np.random.Generator) -> Any:
    """Unit vectors [N, DIM] in clusters of 50, like the seconds of one scene."""
    centers = rng.normal(size=(max(1, num // 50), DIM)).astype(np.float32)
    vectors = centers[rng.integers(0, len(centers), num)] + 0.5 * rng.normal(size=(num, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def one_by_one(search: Callable[[Any], Any], queries: Any) -> tuple[float, Any]:
    """Median milliseconds of single queries, and their ids [Q, K]."""
    search(queries[:1])
    times, found = [], []
    for query in queries:
        begin = time.perf_counter()
        found.append(search(query[None])[0])
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times)), np.array(found)


def measure(num: int, seed: int = 0) -> list[list[object]]:
    rng = np.random.default_rng(seed)
    vectors = clustered(num, rng)
    queries = vectors[rng.integers(0, num, NUM_QUERIES)] + 0.05 * rng.normal(size=(NUM_QUERIES, DIM)).astype(np.float32)
    queries = np.ascontiguousarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)

    def plain(query: Any) -> Any:
        scores = (vectors @ query[0])[None]
        near = np.argpartition(-scores, K, axis=1)[:, :K]
        return np.take_along_axis(near, np.argsort(-np.take_along_axis(scores, near, 1), axis=1), 1)

    flat = FaissFlat(DIM)
    flat.add(vectors, np.arange(num))
    few = np.arange(0, num, 100)
    begin = time.perf_counter()
    graph: Any = faiss.index_factory(DIM, "HNSW32", faiss.METRIC_INNER_PRODUCT)
    graph.add(vectors)
    build_s = time.perf_counter() - begin
    rows: list[list[object]] = []
    numpy_ms, truth = one_by_one(plain, queries)
    for name, search in (
        ("NumPy float32", plain),
        ("surgvl flat", lambda query: flat.search(query, K)[1]),
        ("surgvl flat, 1 % filter", lambda query: flat.search(query, K, few)[1]),
        (f"FAISS HNSW32 (built in {build_s:.0f} s)", lambda query: graph.search(query, K)[1]),
    ):
        took_ms, found = one_by_one(search, queries)
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
        compared = ["-", "-"] if "filter" in name else [f"{numpy_ms / took_ms:.1f}", f"{recall:.3f}"]
        rows.append([num, name, f"{took_ms:.2f}", *compared])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 200_000], help="numbers of vectors")
    args = parser.parse_args()
    head: list[list[object]] = [["vectors", "index", "ms/query", "speed over NumPy", "recall@10"]]
    body = [row for num in args.sizes for row in measure(num)]
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, faiss {faiss.__version__}"
    print(f"{DIM} dimensions, k {K}, median of {NUM_QUERIES} single queries; {machine}")
    print(plain_table(head + body, indent=""))


if __name__ == "__main__":
    main()
