"""Who may import whom: every import of every file, read with `ast`, points to the same floor or down."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "surgvl"

# A file is a member by its longest name here. What composes and holds no mathematics is on floor 3.
FLOORS = {
    "surgvl.errors": 0,
    "surgvl.plurals": 0,
    "surgvl.credentials": 0,
    "surgvl.given": 0,
    "surgvl.labels": 0,
    "surgvl.plugins": 0,
    "surgvl.io": 0,
    "surgvl.temporary": 0,
    "surgvl.locks": 0,
    "surgvl.recorded": 0,
    "surgvl.times": 0,
    "surgvl.usage": 0,
    "surgvl.video": 0,
    "surgvl.video_file": 0,
    "surgvl.video_decode": 0,
    "surgvl.video_folder": 0,
    "surgvl.video_clock": 0,
    "surgvl.video_avi": 0,
    "surgvl.video_marks": 0,
    "surgvl.content_area": 0,
    "surgvl.markdown": 0,
    "surgvl.results": 0,
    "surgvl.vectors": 0,
    "surgvl.vocabulary": 0,
    "surgvl.objective": 0,
    "surgvl.settings": 0,
    "surgvl.muon": 0,
    "surgvl.optimiser": 0,
    "surgvl.schedule": 0,
    "surgvl.steps": 0,
    "surgvl.parallel": 0,
    "surgvl.guard": 0,
    "surgvl.damage": 0,
    "surgvl.checkpoint": 0,
    "surgvl.loggers": 0,
    "surgvl.ema": 0,
    "surgvl.monitor": 0,
    "surgvl.prompts": 0,
    "surgvl.metrics": 1,
    "surgvl.models": 1,
    "surgvl.data": 1,
    "surgvl.data.clusters": 1,  # listed for itself, because it alone in its room imports FAISS
    "surgvl.pretrain": 2,
    "surgvl.align": 2,
    "surgvl.chat": 2,
    "surgvl.probe": 2,
    "surgvl.train": 2,
    "surgvl.tasks": 2,
    "surgvl.retrieval": 2,
    "surgvl.data.run": 3,
    "surgvl.data.merge": 3,
    "surgvl.data.phantom_run": 3,
    "surgvl.pretrain.run": 3,
    "surgvl.align.run": 3,
    "surgvl.probe.run": 3,
    "surgvl.probe.material": 3,
    "surgvl.chat.run": 3,
    "surgvl.chat.ask": 3,
    "surgvl.chat.see": 3,
    "surgvl.features": 3,
    "surgvl.chat.ablate": 3,
    "surgvl.chat.engine": 3,
    "surgvl.chat.questions": 3,
    "surgvl.tasks.run": 3,
    "surgvl.retrieval.run": 3,
    "surgvl.stage": 3,
    "surgvl.embed": 3,
    "surgvl.encoders": 3,
    "surgvl.recordings": 3,
    "surgvl.windows": 3,
    "surgvl.api": 3,
    "surgvl.serve": 3,
    "surgvl": 4,
    "surgvl.cli": 4,
    "surgvl.commands": 4,
    "surgvl.help_text": 4,
    "surgvl.bench": 4,  # lists of commands, which run in processes of their own
    "surgvl.quickstart": 4,  # a list of commands, which it runs through the command line
    "surgvl.demo": 4,
}
# Rooms of one floor that may not see one another, and what a room may not see although it is below.
CLOSED = {
    "surgvl.metrics": {"surgvl.models", "surgvl.data", "surgvl.video"},
    "surgvl.models": {"surgvl.data", "surgvl.metrics"},
    "surgvl.data": {"surgvl.models", "surgvl.metrics"},
    "surgvl.data.clusters": {"surgvl.models", "surgvl.metrics"},
    "surgvl.pretrain": {"surgvl.align", "surgvl.chat", "surgvl.train", "surgvl.data"},
    "surgvl.align": {"surgvl.pretrain", "surgvl.chat", "surgvl.train", "surgvl.data"},
    "surgvl.chat": {"surgvl.pretrain", "surgvl.align", "surgvl.train", "surgvl.data"},
    "surgvl.probe": {"surgvl.pretrain", "surgvl.align", "surgvl.chat", "surgvl.train", "surgvl.data"},
    "surgvl.train": {"surgvl.models", "surgvl.data", "surgvl.tasks", "surgvl.retrieval"},
    "surgvl.tasks": {"surgvl.models", "surgvl.data", "surgvl.train", "surgvl.retrieval", "surgvl.video"},
    "surgvl.retrieval": {"surgvl.train", "surgvl.tasks", "surgvl.pretrain", "surgvl.align", "surgvl.chat"},
}
# Packages and the only members that may import them; 3 stands for all of floors 3 and 4.
PACKAGES: dict[str, set[str | int]] = {
    "torch": {"surgvl.io", "surgvl.objective", "surgvl.settings", "surgvl.muon", "surgvl.optimiser", "surgvl.steps",
              "surgvl.parallel", "surgvl.guard", "surgvl.damage", "surgvl.loggers", "surgvl.ema",
              "surgvl.monitor", "surgvl.checkpoint",
              "surgvl.models", "surgvl.data", "surgvl.pretrain", "surgvl.align",
              "surgvl.chat", "surgvl.probe", "surgvl.train", 3},
    "lightning": {"surgvl.train"},
    "transformers": {"surgvl.models", "surgvl.chat", 3},
    "open_clip": {"surgvl.models"},
    "peft": {"surgvl.chat"},
    "faiss": {"surgvl.retrieval", "surgvl.data.clusters"},
    "gradio": {"surgvl.demo"},
    "starlette": {"surgvl.demo", "surgvl.serve"},
    "httpx": {"surgvl.serve"},
    "uvicorn": {"surgvl.serve", "surgvl.demo"},
    "vllm": {"surgvl.serve"},
    "openai": {"surgvl.serve"},
    "nltk": {"surgvl.metrics"},
    "rouge_score": {"surgvl.metrics"},
    "sklearn": {"surgvl.metrics"},
    "scipy": {"surgvl.metrics"},
    "jsonargparse": {"surgvl.cli", "surgvl.help_text"},
}  # fmt: skip


def member(module: str) -> str:
    """The longest listed name that a module is, or is below."""
    parts = module.split(".")
    return next(name for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in FLOORS)


def complaint(importer: str, imported: str) -> str:
    """Why an import is not allowed; empty where it is."""
    me = member(importer)
    floor = FLOORS[me]
    package = imported.split(".")[0]
    if package != "surgvl":
        allowed = PACKAGES.get(package)
        if allowed is None or me in allowed or (floor >= 3 and 3 in allowed):
            return ""
        # A room's own command stands for the room.
        return "" if floor >= 3 and me.rpartition(".")[0] in allowed else f"{importer} imports {package}"
    other = member(imported)
    if other == "surgvl" and imported == "surgvl.__version__":
        return ""
    if FLOORS[other] > floor:
        return f"{importer} (floor {floor}) imports {imported} (floor {FLOORS[other]})"
    if other == "surgvl.demo" and me != "surgvl.demo":
        return f"{importer} imports the demo"
    return f"{importer} imports {imported}: closed to it" if other in CLOSED.get(me, ()) else ""


def files() -> list[Path]:
    """All modules of the package, those behind its links included."""
    found = [path for folder in (ROOT, *ROOT.iterdir()) if folder.is_dir() for path in folder.glob("*.py")]
    assert len(found) > 80
    return sorted(found)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(importing module, imported name) of a file; for floors 3 and 4 those at the top only."""
    parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
    module = ".".join(["surgvl", *parts])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy_is_free = FLOORS[member(module)] >= 3
    for node in tree.body if lazy_is_free else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from ((module, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_arrow_runs_upward(path: Path) -> None:
    assert not [found for pair in imports(path) if (found := complaint(*pair))]


def test_no_file_is_longer_than_a_page() -> None:
    long = {path.name: n for path in files() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long


def test_every_listed_member_is_there() -> None:
    for name in FLOORS:
        path = ROOT.joinpath(*name.split(".")[1:])
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("surgvl.video", "torch"),
        ("surgvl.metrics.classify", "surgvl.models.dual.Dual"),
        ("surgvl.tasks.phase", "torch.nn"),
        ("surgvl.tasks.phase", "surgvl.models.dual"),
        ("surgvl.models.dual", "surgvl.data.clips.collate"),
        ("surgvl.models.dual", "lightning.pytorch"),
        ("surgvl.data.sampler", "faiss"),
        ("surgvl.data.clusters", "surgvl.models.dual"),
        ("surgvl.align.clip", "surgvl.chat.answer.choose"),
        ("surgvl.align.clip", "surgvl.train.fit"),
        ("surgvl.align.clip", "surgvl.align.run.align"),
        ("surgvl.retrieval.library", "surgvl.api.load"),
        ("surgvl.embed", "surgvl.cli.run"),
        ("surgvl.cli", "surgvl.demo.app.demo"),
        ("surgvl.io", "surgvl.load"),
    ],
)
def test_the_rule_catches(importer: str, imported: str) -> None:
    assert complaint(importer, imported)
