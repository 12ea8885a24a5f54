"""The documentation: every command parses, marked blocks run, links and names lead somewhere."""

import importlib
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from surgvl import prompts
from surgvl.cli import main as cli
from surgvl.cli.table import COMMANDS
from tests.helpers import rooms_picture
from tests.helpers.markdown_blocks import ROOT, blocks, check_command, command_lines
from tests.helpers.real_clips import cut

PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
COMMAND_LINES = sorted({line for text in TEXTS.values() for line in command_lines(text)})
RUNNABLE = [name for name, text in TEXTS.items() if any(block.runnable for block in blocks(text))]
# What the pages call the folders of a run of all stages.
FOLDERS = {"mae": "pretrain", "dual": "align", "chat": "tune"}
SAME = ("phantom", "manifest", "vectors", "index")


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_is_one(line: str) -> None:
    check_command(line)


@pytest.mark.parametrize("name", RUNNABLE)
def test_runnable_blocks_run(
    name: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    for run in ("phantom", "quickstart"):
        (tmp_path / "runs" / run).symlink_to(tiny_run)
    for said, real in {**FOLDERS, **{each: each for each in SAME}}.items():
        (tmp_path / said).symlink_to(tiny_run / real)
    recording = max((tiny_run / "phantom" / "cholec80" / "videos").glob("*.mp4"))
    cut(recording, tmp_path / "video.mp4", 8.0)
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    for block in blocks(TEXTS[name]):
        if block.runnable and block.language == "python":
            exec(compile(block.code, f"docs/{name}", "exec"), variables)
            printed = capsys.readouterr().out
            assert printed.strip()
            assert str(tmp_path) not in printed
        elif block.runnable:
            for line in command_lines(f"```bash\n{block.code}```"):
                cli.run(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("name", TEXTS)
def test_blocks_are_of_known_languages_and_python_compiles(name: str) -> None:
    for block in blocks(TEXTS[name]):
        assert block.language in ("bash", "sh", "python", "py", "yaml", "text")
        if block.language in ("python", "py"):
            compile(block.code, f"docs/{name}", "exec")
        if block.language == "python":
            assert block.runnable or block.title, f"{name}: a python block runs; one that does not is `py`"
    fences = re.findall(r"^```\w", TEXTS[name], re.M)
    assert len(blocks(TEXTS[name])) == len(fences)


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as the site and GitHub make them."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    heads = [head.lower() for head in re.findall(r"^#+ (.+)$", plain, re.M)]
    return {re.sub(r"[^\w -]", "", head).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", TEXTS[name]):
        path = (ROOT / "docs" / target).resolve() if target else ROOT / "docs" / name
        assert path.exists(), f"{name}: {target}"
        assert path.is_relative_to(ROOT), f"{name}: {target}"
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{name}: {target}#{anchor}"


@pytest.mark.parametrize("name", TEXTS)
def test_files_of_the_repository_that_are_named_exist(name: str) -> None:
    text = re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.M | re.S)
    for path in re.findall(r"`((?:surgvl|tests|prompts|retrieval|demo|benchmarks|docs)/[\w/.]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path


@pytest.mark.slow
def test_flags_that_the_prose_names_are_flags() -> None:
    known = {"help", "print_config", "recipe", "dry-run", "objective.smoothing", "fetch"}
    for name, command in COMMANDS.items():
        _, parser, _ = cli.parse(shlex.split(f"{name} {command.example}"))
        for key in [*parser.get_defaults(skip_validation=True).keys()]:
            # `--optim.lr`, its group `--optim`, and the short form.
            known |= {key, key.rpartition(".")[0], key.rpartition(".")[2]}
    for page, text in TEXTS.items():
        # Its flags are those of pytest.
        if page == "contributing.md":
            continue
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        for span in re.findall(r"`([^`]+)`", prose):
            for flag in re.findall(r"--([a-z][\w.-]*)", span):
                alike = any(key.startswith(flag) for key in known)
                assert flag.rstrip(".") in known or (alike and flag.endswith("_")), f"{page}: --{flag}"


def test_names_of_the_reference_exist() -> None:
    names = [name for text in TEXTS.values() for name in re.findall(r"^::: ([\w.]+)$", text, re.M)]
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert attribute in vars(importlib.import_module(module)), name


def test_contracts_lie_where_the_architecture_says() -> None:
    table = TEXTS["architecture.md"].partition("## Contracts")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` \|", table, re.M)
    assert len(rows) >= 6
    for name, path in rows:
        assert re.search(rf"^class {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.M), f"{name}: {path}"


def test_every_page_is_in_the_menu_and_every_command_in_its_table() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2].partition("\nplugins:")[0]
    assert set(re.findall(r"[\w-]+\.md", menu)) == set(TEXTS)
    rows = re.findall(r"^\| (`.*?) \|", TEXTS["commands.md"].partition("## Common to all")[0], re.M)
    assert {name for row in rows for name in re.findall(r"`(.+?)`", row)} == set(COMMANDS)


@pytest.mark.slow
def test_the_tables_that_the_site_fills_in_list_everything() -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")
    hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
    marks = {mark for text in TEXTS.values() for mark in re.findall(r"<!-- table: (.+?) -->", text)}
    assert marks == set(hooks["TABLES"])
    assert all(any(f"`{name}`" in row for row in hooks["prompt_rows"]()) for name in prompts.names())
    assert all(any(f"`{path.stem}`" in row for row in hooks["recipe_rows"]()) for path in cli.RECIPES.glob("*.yaml"))
    assert any("`cholec80`" in row for row in hooks["dataset_rows"]())
    assert any("`peskavlp`" in row for row in hooks["model_rows"]())
    assert any("`phase`" in row for row in hooks["task_rows"]())
    assert any("`.eaf`" in row for row in hooks["format_rows"]())
    assert any("minilm" in row for row in hooks["paraphrase_rows"]())


def test_the_picture_of_the_rooms_is_that_of_the_floors() -> None:
    drawn = rooms_picture.PICTURE.read_text(encoding="utf-8")
    assert drawn == rooms_picture.draw(), "the rooms have changed: python -m tests.helpers.rooms_picture"
