"""Who may import whom: every import of every file, read with `ast`, those inside functions too, points down.

A room of a lower floor may be imported; rooms of one floor do not import one another.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent / "surgvl"


class Room(NamedTuple):
    floor: int
    packages: str = ""
    """Guarded packages that it may import."""
    never: str = ""
    """Lower rooms that it does without."""


ROOMS = {
    "core": Room(0),
    "video": Room(1),
    "prompts": Room(1),
    "metrics": Room(2, "nltk rouge_score sklearn scipy", "video prompts"),
    "models": Room(2, "torch transformers open_clip httpx", "prompts"),
    "data": Room(2, "torch", "prompts"),
    "train": Room(3, "torch lightning peft", "models data prompts"),
    "embed": Room(3, "torch faiss ray"),
    "pretrain": Room(4, "torch", "prompts"),
    "align": Room(4, "torch"),
    "chat": Room(4, "torch transformers peft"),
    "probe": Room(5, "torch"),
    "tasks": Room(4, "", "models data train video"),
    "retrieval": Room(4, "faiss pymilvus", "train"),
    "export": Room(4, "", "models train"),
    "serve": Room(5, "torch transformers vllm openai starlette httpx uvicorn"),
    "api": Room(6, "torch"),
    "archive": Room(7, "torch"),
    "bench": Room(8, ""),
    "compat": Room(8, "torch transformers"),
    "demo": Room(8, "torch gradio starlette uvicorn"),
    "commands": Room(9, "torch transformers starlette uvicorn httpx"),
    "cli": Room(10, "jsonargparse"),
    "__init__": Room(11),
    "__main__": Room(11),
}
GUARDED = set(" ".join(room.packages for room in ROOMS.values()).split())


def room_of(module: str) -> str:
    """The room of a module's dotted name; `surgvl` itself is `__init__`."""
    return (module.split(".") + ["__init__"])[1]


def complaint(importer: str, imported: str) -> str:
    """Why an import is not allowed; empty where it is."""
    name, package = room_of(importer), imported.split(".")[0]
    me = ROOMS[name]
    if package != "surgvl":
        allowed = package not in GUARDED or package in me.packages.split()
        return "" if allowed else f"{importer} imports {package}"
    other = room_of(imported)
    if other == name:
        return ""
    # A name of `surgvl/__init__.py`, such as `load`, is not a room.
    above = ROOMS.get(other, ROOMS["__init__"]).floor >= me.floor
    return f"{importer} imports {imported}" if above or other in me.never.split() else ""


def modules() -> list[Path]:
    """All modules of the package, those behind its links included."""
    found: list[Path] = []
    folders = [ROOT]
    while folders:
        folder = folders.pop()
        found += folder.glob("*.py")
        folders += [path for path in folder.iterdir() if path.is_dir()]
    assert len(found) > 200
    return sorted(found)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements below a node; expressions, which hold none, are most of a file."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from statements(child)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(importing module, imported name) of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(["surgvl", *parts])
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from ((module, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.slow
def test_no_import_points_up() -> None:
    assert not [found for path in modules() for pair in imports(path) if (found := complaint(*pair))]


def test_imports_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "core" / "made.py"
    path.parent.mkdir()
    path.write_text(
        "import a\nclass C:\n    def f(self):\n        try:\n            import b\n        except ImportError:\n"
        "            from c import d\n        else:\n            import e.f\n        finally:\n            import g\n"
        "match 1:\n    case 1:\n        with open(a) as x:\n            import h\nif a:\n    pass\nelse:\n"
        "    import i\n"
    )
    assert [name for _, name in imports(path)] == ["a", "b", "c.d", "e.f", "g", "h", "i"]


def test_no_file_is_longer_than_a_page() -> None:
    long = {path.name: n for path in modules() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long


def test_every_room_is_there_and_has_its_line() -> None:
    there = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    # Rooms that later issues build.
    assert there == set(ROOMS)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("surgvl.video.file", "torch"),
        ("surgvl.core.files", "surgvl.video.probe"),
        ("surgvl.metrics.classify", "surgvl.models.dual_encoder.DualEncoder"),
        ("surgvl.tasks.phase", "torch.nn"),
        ("surgvl.tasks.phase", "surgvl.models.dual_encoder"),
        ("surgvl.models.dual_encoder", "surgvl.data.clips.collate"),
        ("surgvl.models.dual_encoder", "lightning.fabric"),
        ("surgvl.data.clusters", "faiss"),
        ("surgvl.align.clip", "surgvl.chat.answerers.generate"),
        ("surgvl.align.clip", "surgvl.commands.align.align"),
        ("surgvl.retrieval.clip_index", "surgvl.api.load"),
        ("surgvl.commands.embed", "surgvl.cli.main"),
        ("surgvl.api", "surgvl.demo.app"),
        ("surgvl.api", "surgvl.archive.archive"),
        ("surgvl.core.files", "surgvl.load"),
    ],
)
def test_the_rule_catches(importer: str, imported: str) -> None:
    assert complaint(importer, imported)
