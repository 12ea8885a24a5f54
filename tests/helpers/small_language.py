"""A built-in language model of a tenth, for tests of what is around it."""

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest

from surgvl.models import chat


@contextlib.contextmanager
def small_language() -> Iterator[None]:
    """`surgvl tune` builds it meanwhile."""
    small = partial(chat.tiny_language_config, width=64, layers=2, heads=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat, "tiny_language_config", small)
        yield
