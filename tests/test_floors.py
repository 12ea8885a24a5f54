"""Who may import whom: every import of every file, read with `ast`, points to the same floor or down."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "surgvl"

# A file is a member by its longest name here. What composes and holds no mathematics is on floor 3.
FLOORS = {
    "surgvl.core.errors": 0,
    "surgvl.core.plurals": 0,
    "surgvl.core.credentials": 0,
    "surgvl.core.texts": 0,
    "surgvl.core.labels": 0,
    "surgvl.core.registry": 0,
    "surgvl.core.files": 0,
    "surgvl.core.temporary": 0,
    "surgvl.core.locks": 0,
    "surgvl.core.recorded": 0,
    "surgvl.core.times": 0,
    "surgvl.cli.arguments": 0,
    "surgvl.video": 0,
    "surgvl.video.file": 0,
    "surgvl.video.decoder": 0,
    "surgvl.video.frame_folder": 0,
    "surgvl.video.clock": 0,
    "surgvl.video.avi": 0,
    "surgvl.video.marks": 0,
    "surgvl.video.content_area": 0,
    "surgvl.core.tables": 0,
    "surgvl.core.results": 0,
    "surgvl.embed.vectors": 0,
    "surgvl.core.ontology": 0,
    "surgvl.train.objective": 0,
    "surgvl.train.config": 0,
    "surgvl.train.muon": 0,
    "surgvl.train.optimizer": 0,
    "surgvl.train.schedule": 0,
    "surgvl.train.sampler": 0,
    "surgvl.train.distributed": 0,
    "surgvl.train.guard": 0,
    "surgvl.train.damage": 0,
    "surgvl.train.checkpoint": 0,
    "surgvl.train.loggers": 0,
    "surgvl.train.ema": 0,
    "surgvl.train.collapse": 0,
    "surgvl.prompts": 0,
    "surgvl.metrics": 1,
    "surgvl.models": 1,
    "surgvl.data": 1,
    "surgvl.data.clusters": 1,  # listed for itself, because it alone in its room imports FAISS
    "surgvl.pretrain": 2,
    "surgvl.align": 2,
    "surgvl.chat": 2,
    "surgvl.probe": 2,
    "surgvl.train.loop": 2,
    "surgvl.tasks": 2,
    "surgvl.retrieval": 2,
    "surgvl.commands.data": 3,
    "surgvl.commands.data_merge": 3,
    "surgvl.commands.phantom": 3,
    "surgvl.commands.pretrain": 3,
    "surgvl.commands.align": 3,
    "surgvl.commands.probe": 3,
    "surgvl.probe.dataset": 3,
    "surgvl.commands.tune": 3,
    "surgvl.commands.ask": 3,
    "surgvl.chat.feature_cache": 3,
    "surgvl.embed.features": 3,
    "surgvl.chat.controls": 3,
    "surgvl.chat.answerers": 3,
    "surgvl.chat.questions": 3,
    "surgvl.commands.eval": 3,
    "surgvl.commands.search": 3,
    "surgvl.commands.common": 3,
    "surgvl.commands.embed": 3,
    "surgvl.embed.encoders": 3,
    "surgvl.embed.recordings": 3,
    "surgvl.embed.windows": 3,
    "surgvl.api": 3,
    "surgvl.serve": 3,
    "surgvl": 4,
    "surgvl.cli.main": 4,
    "surgvl.cli.table": 4,
    "surgvl.cli.help": 4,
    "surgvl.bench": 4,  # lists of commands, which run in processes of their own
    "surgvl.cli.quickstart": 4,  # a list of commands, which it runs through the command line
    "surgvl.demo": 4,
}
# Rooms of one floor that may not see one another, and what a room may not see although it is below.
CLOSED = {
    "surgvl.metrics": {"surgvl.models", "surgvl.data", "surgvl.video"},
    "surgvl.models": {"surgvl.data", "surgvl.metrics"},
    "surgvl.data": {"surgvl.models", "surgvl.metrics"},
    "surgvl.data.clusters": {"surgvl.models", "surgvl.metrics"},
    "surgvl.pretrain": {"surgvl.align", "surgvl.chat", "surgvl.train.loop", "surgvl.data"},
    "surgvl.align": {"surgvl.pretrain", "surgvl.chat", "surgvl.train.loop", "surgvl.data"},
    "surgvl.chat": {"surgvl.pretrain", "surgvl.align", "surgvl.train.loop", "surgvl.data"},
    "surgvl.probe": {"surgvl.pretrain", "surgvl.align", "surgvl.chat", "surgvl.train.loop", "surgvl.data"},
    "surgvl.train.loop": {"surgvl.models", "surgvl.data", "surgvl.tasks", "surgvl.retrieval"},
    "surgvl.tasks": {"surgvl.models", "surgvl.data", "surgvl.train.loop", "surgvl.retrieval", "surgvl.video"},
    "surgvl.retrieval": {"surgvl.train.loop", "surgvl.tasks", "surgvl.pretrain", "surgvl.align", "surgvl.chat"},
}
# Packages and the only members that may import them; 3 stands for all of floors 3 and 4.
PACKAGES: dict[str, set[str | int]] = {
    "torch": {"surgvl.core.files", "surgvl.train.objective", "surgvl.train.config", "surgvl.train.muon", "surgvl.train.optimizer", "surgvl.train.sampler",
              "surgvl.train.distributed", "surgvl.train.guard", "surgvl.train.damage", "surgvl.train.loggers", "surgvl.train.ema",
              "surgvl.train.collapse", "surgvl.train.checkpoint",
              "surgvl.models", "surgvl.data", "surgvl.pretrain", "surgvl.align",
              "surgvl.chat", "surgvl.probe", "surgvl.train.loop", 3},
    "lightning": {"surgvl.train.loop"},
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
    "jsonargparse": {"surgvl.cli.main", "surgvl.cli.help"},
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
        ("surgvl.align.clip", "surgvl.train.loop.fit"),
        ("surgvl.align.clip", "surgvl.commands.align.align"),
        ("surgvl.retrieval.clip_index", "surgvl.api.load"),
        ("surgvl.commands.embed", "surgvl.cli.main.run"),
        ("surgvl.cli.main", "surgvl.demo.app.demo"),
        ("surgvl.core.files", "surgvl.load"),
    ],
)
def test_the_rule_catches(importer: str, imported: str) -> None:
    assert complaint(importer, imported)
