"""How `retrieval.py` measures: time of queries one by one, of anything else, bytes, and recall."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# How many of the best are looked for.
K = 10
# What takes longer than this for a query is exact, and timed on twenty of them.
SLOW_S, NUM_SLOW = 0.05, 20
Search = Callable[[Any], Any]


class Took(NamedTuple):
    """Seconds that passed, and seconds of all processors."""

    wall_s: float
    processor_s: float


def seconds(act: Callable[[], Any]) -> tuple[Any, Took]:
    """What it returns, and how long it took."""
    begin, spent = time.perf_counter(), time.process_time()
    found = act()
    return found, Took(time.perf_counter() - begin, time.process_time() - spent)


def size_mb(folder: Path) -> float:
    """Of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def timed(search: Search, queries: Any) -> tuple[Any, list[str]]:
    """Ids of each query; median and 95th percentile of the milliseconds, and the median of the processors'."""
    # The first searches read pages and sort ids.
    if min(seconds(partial(search, query))[1].wall_s for query in queries[:4]) > SLOW_S:
        queries = queries[:: len(queries) // NUM_SLOW]
    times, spent, found = [], [], []
    for query in queries:
        begin, begin_spent = time.perf_counter(), time.process_time()
        found.append(search(query))
        times.append(1000 * (time.perf_counter() - begin))
        spent.append(1000 * (time.process_time() - begin_spent))
    return np.array(found), [f"{value:.2f}" for value in (*np.quantile(times, [0.5, 0.95]), np.median(spent))]


def recall(found: Any, truth: Any) -> float:
    """Share of the best K that were found."""
    truth = truth[:: len(truth) // len(found)]
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))
