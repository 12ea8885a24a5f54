"""Several requests at a time, with results in the order of the questions."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def in_order(do: Callable[[Item], Outcome], items: Iterable[Item], in_flight: int) -> Iterator[Outcome]:
    """Do something with each item in threads; results come in the order of the items, which are consumed as needed.

    Args:
        do: called in a thread; its first error ends the others.
        items: to work on.
        in_flight: most calls at a time.
    """
    waiting: deque[Future[Outcome]] = deque()
    pool = ThreadPoolExecutor(in_flight, "surgvl-ask")
    try:
        for item in items:
            waiting.append(pool.submit(do, item))
            # Twice as many are queued, so that a slow request does not hold up the others.
            if len(waiting) >= 2 * in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
