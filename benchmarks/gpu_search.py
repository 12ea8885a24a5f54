"""Searches of flat indexes and lists on a GPU, next to the processor's; the last part of `gpu.py`.

    python benchmarks/gpu_search.py [--rehearse]

Prints lines of the page: milliseconds of a query, one at a time and 256 at once, and the share of equal results. Where
FAISS cannot use a GPU, the line says why; a rehearsal then compares the processor with itself.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from made_embeddings import World

from surgvl.core.errors import ConfigError
from surgvl.core.tables import markdown_table
from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.gpu import is_used
from surgvl.retrieval.index_config import Device

DIM, NUM, NUM_QUERIES, K = 512, 200_000, 256, 10
HEAD = ["index", "on", "ms a query", "ms a query, 256 at once", "equal to the processor's"]


def milliseconds(search: Callable[[], Any], number: int) -> float:
    """Of one of `number` queries, by the median of five turns."""
    search()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        search()
        times.append(1000 * (time.perf_counter() - begun) / number)
    return float(np.median(times))


def rows(backend: str, vectors: Any, queries: Any, device: Device) -> list[list[str]]:
    """Both sides of a kind of index."""
    index = BACKENDS[backend](vectors.shape[1])
    index.train(vectors)
    index.add(vectors, np.arange(len(vectors)))
    found, want = [], index.search(queries, K)[1]
    sides: tuple[Device, Device] = ("cpu", device)
    for side in sides:
        index.place(side)
        one = milliseconds(lambda: [index.search(query[None], K) for query in queries[:32]], 32)
        every = milliseconds(lambda: index.search(queries, K), len(queries))
        equal = float((index.search(queries, K)[1] == want).mean())
        found.append([backend, side, f"{one:.2f}", f"{every:.3f}", f"{equal:.1%}"])
    return found


def main() -> None:
    rehearse = "--rehearse" in sys.argv[1:]
    device: Device = "gpu"
    try:
        is_used("gpu", NUM)
    except ConfigError as error:
        if not rehearse:
            print(f"- not measured: {error}")
            return
        device = "cpu"
    num = 4000 if rehearse else NUM
    world = World(DIM)
    vectors, queries = np.concatenate(list(world.recordings(num))), world.clips(NUM_QUERIES)
    body = [row for backend in ("flat", "ivf") for row in rows(backend, vectors, queries, device)]
    print(
        "\n".join(
            [f"{num:,} made vectors of {DIM} dimensions, {K} results:", "", *markdown_table(HEAD, body, HEAD[2:])]
        )
    )


if __name__ == "__main__":
    main()
