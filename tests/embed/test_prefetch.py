"""Items made by another thread: the same, in order, with the errors, and nothing is left running."""

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from surgvl.embed.prefetch import prefetch

NAME: ContextVar[str] = ContextVar("NAME", default="")


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_items_come_in_order_and_from_another_thread() -> None:
    made_by = []

    def items() -> Iterator[int]:
        for number in range(100):
            made_by.append(threading.current_thread().name)
            yield number

    assert list(prefetch(items())) == list(range(100))
    assert set(made_by) == {"prefetch"}
    assert "prefetch" not in names()


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("damaged")

    stream = prefetch(items())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(stream)
    assert "prefetch" not in names()


def test_at_most_depth_items_wait() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(10**9):
            made.append(number)
            yield number

    stream = prefetch(items(), depth=3)
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    # One is used, three wait, one is about to.
    assert len(made) <= 5
    assert "prefetch" not in names()


def test_errors_may_be_items_and_the_context_is_the_callers() -> None:
    token = NAME.set("here")
    try:
        found = list(prefetch(iter([ValueError("an item")])))
        assert [str(each) for each in found] == ["an item"]
        assert list(prefetch(NAME.get() for _ in range(2))) == ["here", "here"]
    finally:
        NAME.reset(token)
