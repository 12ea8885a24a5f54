"""A new file in a package is a new choice; what is not one gets a line with the choices."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from surgvl.core.errors import ConfigError
from surgvl.core.registry import choose, discover


class Shape:
    """The contract of these tests."""

    name = ""


FILES = {
    "__init__.py": "",
    "square.py": "from tests.core.test_registry import Shape\nclass Square(Shape):\n    name = 'square'\n",
    "circle.py": "from tests.core.test_registry import Shape\nclass Round(Shape):\n    pass\n"
    "class Circle(Round):\n    name = 'circle'\n",
    "again.py": "from made_shapes.square import Square\nfrom tests.core.test_registry import Shape\n",
    "_hidden.py": "raise RuntimeError('a hidden file was imported')\n",
    "notes.txt": "not Python\n",
}


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of four modules."""
    folder = tmp_path / "made_shapes"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("made_shapes")
    for name in [name for name in sys.modules if name.split(".")[0] == "made_shapes"]:
        del sys.modules[name]


def test_a_file_is_a_choice(shapes: ModuleType) -> None:
    found = discover(shapes, Shape)
    assert list(found) == ["circle", "square"]
    assert found["square"].__module__ == "made_shapes.square"


def test_a_new_file_is_found_without_being_listed(shapes: ModuleType) -> None:
    text = "from tests.core.test_registry import Shape\nclass Star(Shape):\n    name = 'star'\n"
    (Path(shapes.__path__[0]) / "star.py").write_text(text)
    importlib.invalidate_caches()
    assert list(discover(shapes, Shape)) == ["circle", "square", "star"]


def test_two_of_one_name_are_refused(shapes: ModuleType) -> None:
    text = "from tests.core.test_registry import Shape\nclass Other(Shape):\n    name = 'square'\n"
    (Path(shapes.__path__[0]) / "other.py").write_text(text)
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match="'square' is the name of both .*: rename one"):
        discover(shapes, Shape)


def test_choose_by_name_and_by_path(shapes: ModuleType) -> None:
    assert choose(shapes, Shape, "circle") is choose(shapes, Shape, "made_shapes.circle.Circle")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sqare", ["unknown shape 'sqare'", "circle, square", "did you mean square?"]),
        ("zzz", ["unknown shape 'zzz'", "circle, square", "choose one of them"]),
        ("no_such.module.Thing", ["'no_such.module.Thing' cannot be imported", "importable path"]),
        ("made_shapes.square.Nothing", ["must be a subclass of Shape"]),
        ("pathlib.Path", ["must be a subclass of Shape"]),
    ],
)
def test_what_is_no_choice_gets_one_line(shapes: ModuleType, name: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(shapes, Shape, name)
    message = str(caught.value)
    assert all(part in message for part in words), message
    assert "\n" not in message
