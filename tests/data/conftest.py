"""A small phantom, rendered once for all tests of data; they copy what they change."""

from pathlib import Path

import pytest

from surgvl.commands.phantom import phantom
from tests.helpers.small_phantom import SMALL


@pytest.fixture(scope="session")
def small_phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 12 s, one in each split, written by two processes."""
    root = tmp_path_factory.mktemp("phantom") / "root"
    phantom(root, **SMALL, workers=2, preview=True)
    return root
