"""A small phantom, rendered once for all tests of data; they copy what they change."""

from pathlib import Path

import pytest

from surgvl.commands.phantom import phantom
from tests.conftest import MadeOnce
from tests.helpers.small_phantom import SMALL


@pytest.fixture(scope="session")
def small_phantom(made_once: MadeOnce) -> Path:
    """Three videos of 12 s, one in each split, written by two processes."""

    def make(folder: Path) -> None:
        phantom(folder / "root", **SMALL, workers=2, preview=True)

    return made_once("small_phantom", make) / "root"
