"""The README runs: its Python on a small run folder, its commands against the real parser."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from surgvl import prompts
from surgvl.cli import main as cli
from surgvl.cli.table import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Contents of the README's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


def commands() -> list[str]:
    """Shell lines, continued ones joined, without their comments."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True)) and line for line in lines if line.strip()]


def writer() -> ModuleType:
    """`benchmarks/readme_table.py`, which is a script and no module of the package."""
    spec = importlib.util.spec_from_file_location("readme_table", ROOT / "benchmarks" / "readme_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.M) for target in words[1:])
    else:
        assert words[0] == "surgvl"
        cli.parse(words[1:])


def test_every_command_of_the_table_is_there() -> None:
    table = TEXT.partition("## What each stage does")[2].partition("\n\n`surgvl` alone")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(.+?)`", row)}
    assert named == set(COMMANDS) - {"quickstart", "data list"}


def test_the_python_prints_what_it_says(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "phantom").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if not line.startswith("from glob")]) <= 8
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] in {row.name for row in prompts.load("phantom_phase").classes}
    assert all(re.fullmatch(r"video\d\d \d+\.0 \d+\.0", line) for line in printed[1:3])
    assert printed[3]
    assert len(printed) == 4
    assert str(tmp_path) not in "".join(printed)


def test_what_code_writes_stands_between_marks(tmp_path: Path) -> None:
    write = writer()
    text = write.put(write.put(TEXT, "output", "```text\nhello\n```"), "results", "| a |\n|---|\n| 1 |\n")
    assert "<!-- output:begin -->\n```text\nhello\n```\n<!-- output:end -->" in text
    assert "<!-- results:begin -->\n| a |\n|---|\n| 1 |\n<!-- results:end -->" in text
    again = write.put(write.put(text, "output", ""), "results", "")
    assert re.sub(r"\s+", " ", again) == re.sub(r"\s+", " ", write.put(write.put(TEXT, "output", ""), "results", ""))
    with pytest.raises(SystemExit, match="lacks the marks"):
        write.put(TEXT, "nothing", "")
    assert write.output("print('runs/phantom')", Path("elsewhere/run")) == "elsewhere/run\n"
    assert write.python_block(TEXT) == blocks("python")[0]


def test_links_lead_to_files() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (ROOT / link).exists(), f"{name}: {link}"
    for path in re.findall(r"`((?:surgvl|tests|prompts|retrieval|benchmarks)/[\w/.]+\.(?:py|yaml))`", TEXT):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_contributing_names_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:surgvl/|tests/|pretrain/|data/|tasks/|retrieval/)[\w/]+\.py)`", text)
    assert named
    for path in named:
        if "NAME" not in path:
            assert (ROOT / path).exists() or (ROOT / "surgvl" / path).exists(), path


def test_it_says_early_what_it_is_not_for() -> None:
    lines = TEXT.splitlines()
    assert lines[0] == "# surgvl"
    assert TEXT.index("make demo") < TEXT.index("import surgvl") < TEXT.index("surgvl phantom --out")
    assert "phantom numbers" in TEXT
    assert "Not for clinical use" in TEXT
    assert TEXT[: TEXT.index("## It stands on")].count("\n") > 60


def test_the_licence_is_apache_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
    assert "APPENDIX: How to apply the Apache License" in text
