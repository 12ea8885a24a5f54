"""The README is true: its Python runs, its commands parse, its numbers come from files, its links lead somewhere."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from surgvl import prompts
from tests.helpers.markdown_blocks import ROOT, blocks, check_command, command_lines

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    """`benchmarks/readme_table.py`, which is a script and no module of the package."""
    return runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))


@pytest.mark.parametrize("line", command_lines(TEXT))
def test_every_command_is_one(line: str) -> None:
    check_command(line)


def test_the_python_prints_what_it_says(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "phantom").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    (code,) = (block.code for block in blocks(TEXT) if block.language == "python")
    assert len([line for line in code.splitlines() if not line.startswith("from glob")]) <= 8
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] in {row.name for row in prompts.load("phantom_phase").classes}
    assert all(re.fullmatch(r"video\d\d \d+\.0 \d+\.0", line) for line in printed[1:3])
    assert printed[3]
    assert len(printed) == 4
    assert str(tmp_path) not in "".join(printed)


def test_what_code_writes_stands_between_marks(writer: dict[str, Any]) -> None:
    put = writer["put"]
    text = put(put(TEXT, "output", "```text\nhello\n```"), "results", "| a |\n|---|\n| 1 |\n")
    assert "<!-- output:begin -->\n```text\nhello\n```\n<!-- output:end -->" in text
    assert "<!-- results:begin -->\n| a |\n|---|\n| 1 |\n<!-- results:end -->" in text
    again = put(put(text, "output", ""), "results", "")
    assert re.sub(r"\s+", " ", again) == re.sub(r"\s+", " ", put(put(TEXT, "output", ""), "results", ""))
    with pytest.raises(SystemExit, match="lacks the marks"):
        put(TEXT, "nothing", "")
    assert writer["output"]("print('runs/phantom')", Path("elsewhere/run")) == "elsewhere/run\n"
    assert writer["python_block"](TEXT) == next(block.code for block in blocks(TEXT) if block.language == "python")


def between(name: str) -> str:
    """What stands between the marks of a name."""
    return TEXT.partition(f"<!-- {name}:begin -->\n")[2].partition(f"\n<!-- {name}:end -->")[0]


def test_the_rows_of_results_are_those_of_the_page(writer: dict[str, Any]) -> None:
    page = writer["PAGE"].read_text(encoding="utf-8")
    assert between("results") == writer["short"](page)
    rows = [line for line in between("results").splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 6
    for row in rows:
        # Independent of the code that wrote it: the same cells begin a row of the page.
        assert [cell.strip() for cell in row.split("|")[1:6]] in [
            [cell.strip() for cell in line.split("|")[1:6]] for line in page.splitlines()
        ]
    assert {"phase", "triplet", "retrieval", "vqa"} == {row.split("|")[1].strip() for row in rows}
    assert "nothing about patients" in page


def test_results_that_lack_a_row_are_refused(writer: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="the results lack phase macro_f1, triplet mAP_IVT"):
        writer["short"]("| task | metric | value |\n| --- | --- | --- |\n| phase | accuracy | 0.5 |\n")


def test_extras_of_the_table_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = TEXT.partition("| extra |")[2].partition("\n\n")[0]
    named = {name for cell in re.findall(r"^\| (`.+?) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(project["optional-dependencies"]) - {"tensorboard", "wandb", "bench"}
    installed = re.findall(r"'\.\[([\w,]+)\]'", TEXT)
    assert installed
    assert all(set(extras.split(",")) <= set(project["optional-dependencies"]) for extras in installed)


def test_links_lead_to_files() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)#?[^)]*\)", text):
            assert (ROOT / link).exists(), f"{name}: {link}"
    for path in re.findall(r"`((?:surgvl|tests|prompts|retrieval|benchmarks)/[\w/.]+\.(?:py|yaml))`", TEXT):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_it_is_one_page_that_says_early_what_it_is_not_for() -> None:
    lines = TEXT.splitlines()
    assert lines[0] == "# surgvl"
    assert len(lines) <= 130
    assert TEXT.index("Not for clinical use") < TEXT.index("make demo") < TEXT.index("import surgvl")
    assert "phantom numbers" in TEXT
    assert all(len(line) <= 150 or line.startswith("|") for line in lines)


def test_the_licence_is_apache_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
    assert "APPENDIX: How to apply the Apache License" in text
