"""Numbered videos in every container, encoded once; tests only read them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.numbered_videos import FILES, encode


@pytest.fixture(scope="session")
def numbered_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a name among `FILES`."""
    folder = tmp_path_factory.mktemp("numbered")

    @cache
    def made(name: str) -> Path:
        encode(folder / name, **FILES[name])
        return folder / name

    return made
