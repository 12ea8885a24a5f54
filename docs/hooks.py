"""Hooks of mkdocs: add pages from outside `docs/`, and tables of the classes and files that the code discovers.

A link such as `../benchmarks/results/recipes.md` works in the repository; on the site it leads to a copy.
"""

import importlib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import surgvl.tasks
from surgvl import prompts
from surgvl.cli.main import RECIPES
from surgvl.commands.data import datasets
from surgvl.core.registry import discover
from surgvl.core.tables import markdown_table
from surgvl.data.licences import licence_line
from surgvl.export.base import formats
from surgvl.models.published import registry
from surgvl.tasks.base import Task
from surgvl.tasks.marked_lists import published

ROOT = Path(__file__).resolve().parent.parent
# Folder or file of the repository -> its place on the site.
OUTSIDE = {
    "benchmarks/results": "results",
    "surgvl/models/phantom/README.md": "model-card.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside."""
    for source, target in OUTSIDE.items():
        path = ROOT / source
        for file in sorted(path.glob("*.md")) if path.is_dir() else [path]:
            uri = f"{target}/{file.name}" if path.is_dir() else target
            added = File.generated(config, uri, abs_src_path=str(file))
            # Linked to, but not in the menu.
            added.inclusion = added.inclusion.NOT_IN_NAV
            files.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in the tables, and point links to outside pages to the copies."""
    for name, rows in TABLES.items():
        mark = f"<!-- table: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(rows()))
    for source, target in OUTSIDE.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}")
    return markdown


def dataset_rows() -> list[str]:
    """Every data set that can be read."""
    rows = [
        [
            f"`{name}`",
            ", ".join(f"{task} {len(names)}" for task, names in kind.CLASSES.items()) or "–",
            ", ".join(f"`{each}`" for each in kind.SPLITS) or "–",
            licence_line(kind.LICENCE, kind.LICENCE_FROM),
            kind.SOURCE,
        ]
        for name, kind in datasets().items()
    ]
    return markdown_table(["name", "labels, number of classes", "split protocols", "licence", "source"], rows)


def model_rows() -> list[str]:
    """Every published model that is known by name."""
    rows = [
        [
            f"`{name}`",
            entry.purpose,
            entry.licence,
            entry.commercial,
            f"[page]({entry.source})" if entry.source else "–",
        ]
        for name, entry in registry().items()
    ]
    return markdown_table(["name", "for", "licence", "commercial use", "from"], rows)


def recipe_rows() -> list[str]:
    """Every recipe file, with its command and the first sentence of its comment."""
    rows = []
    for path in sorted(RECIPES.glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        told = " ".join(line.removeprefix("# ") for line in lines[1:4] if line.startswith("# "))
        rows.append([f"`{path.stem}`", f"`{lines[0].split()[2]}`", told.partition(". ")[0].rstrip(".")])
    return markdown_table(["recipe", "command", "what it is"], rows)


def prompt_rows() -> list[str]:
    """Every prompt set that ships."""
    sets = map(prompts.load, prompts.names())
    rows = [
        [f"`{each.name}`", str(each.version), each.task, each.dataset, str(len(each.classes)), str(len(each.texts()))]
        for each in sets
    ]
    return markdown_table(["prompt set", "version", "task", "data set", "classes", "sentences"], rows)


def task_rows() -> list[str]:
    """Every benchmark task, with the first line of its file."""
    kinds: dict[str, Any] = discover(surgvl.tasks, Task)
    rows = [[f"`{name}`", str(kind.version), first_line(kind.__module__)] for name, kind in kinds.items()]
    return markdown_table(["task", "version", "what it scores"], rows)


def marks_rows() -> list[str]:
    """Every published list of answers that people have marked."""
    rows = [
        [
            f"`{name}`",
            kind.title,
            f"{sum(kind.NUM_MARKS.values()):,}",
            kind.DOMAIN,
            licence_line(kind.LICENCE, kind.LICENCE_FROM),
            kind.SOURCE,
        ]
        for name, kind in published().items()
    ]
    return markdown_table(["name", "list", "marks", "about", "licence", "source"], rows, {"marks"})


def format_rows() -> list[str]:
    """Every format of timelines."""
    rows = [[f"`{name}`", kind.title, f"`{kind.suffix}`", kind.purpose] for name, kind in formats().items()]
    return markdown_table(["format", "called", "suffix", "for"], rows)


def paraphrase_rows() -> list[str]:
    """Recall with the narrator's sentences and with paraphrases, from the benchmark's page."""
    page = ROOT / "benchmarks" / "results" / "paraphrases.md"
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def first_line(module: str) -> str:
    """The first line of a module's docstring."""
    return (importlib.import_module(module).__doc__ or "").strip().splitlines()[0]


TABLES = {
    "data sets": dataset_rows,
    "published models": model_rows,
    "recipes": recipe_rows,
    "prompt sets": prompt_rows,
    "tasks": task_rows,
    "marked lists": marks_rows,
    "paraphrases": paraphrase_rows,
    "formats": format_rows,
}
