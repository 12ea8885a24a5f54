"""The examples of docs/extending.md are whole: each of its files does what the page says, without any other edit."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import surgvl.data.readers
import surgvl.pretrain
import surgvl.tasks
from surgvl import prompts
from surgvl.cli import main as cli
from surgvl.commands import data
from surgvl.core.ontology import CHOLEC80_TOOLS
from surgvl.core.registry import choose, discover
from surgvl.core.results import read_results
from surgvl.models import published
from surgvl.pretrain.base import Recipe
from tests.data.readers import test_contract as data_contract
from tests.helpers.markdown_blocks import ROOT, blocks
from tests.pretrain import test_contract as recipe_contract

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = {block.title: block.code for block in blocks(PAGE) if block.title}
PACKAGES: dict[str, ModuleType] = {
    "surgvl/data/readers": surgvl.data.readers,
    "surgvl/pretrain": surgvl.pretrain,
    "surgvl/tasks": surgvl.tasks,
}


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the page, found as if they lay in the package."""
    root = tmp_path / "added"
    for title, code in FILES.items():
        (root / title).parent.mkdir(parents=True, exist_ok=True)
        (root / title).write_text(code, encoding="utf-8")
    for place, module in PACKAGES.items():
        monkeypatch.setattr(module, "__path__", [*module.__path__, str(root / place)])
    before = set(sys.modules)
    yield root
    for name in set(sys.modules) - before:
        if str(root) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            delattr(sys.modules[package], attribute)


def run_tests(file: Path, tmp_path: Path) -> int:
    """Run the tests of a file in this process; how many there were."""
    variables: dict[str, object] = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), variables)
    found = [value for name, value in variables.items() if name.startswith("test_") and isinstance(value, FunctionType)]
    for number, function in enumerate(found):
        place = tmp_path / str(number)
        place.mkdir(parents=True)
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
        function(*[place for _ in wanted])
    return len(found)


def test_every_kind_of_file_has_an_example() -> None:
    folders = {title.rpartition("/")[0] for title in FILES}
    assert folders == {
        *PACKAGES,
        "surgvl/recipes",
        "surgvl/models/registry",
        "prompts",
        "tests/data/readers",
        "tests/tasks",
    }
    assert not [title for title in FILES if (ROOT / title).exists()]


@pytest.mark.parametrize("title", [title for title in FILES if title.endswith(".py")])
def test_examples_are_as_lint_wants_them(title: str) -> None:
    # What is not there yet counts as a package of others, so the order of imports is not checked.
    argv = [sys.executable, "-m", "ruff", "check", "--quiet", "--extend-ignore", "I001", "--stdin-filename", title, "-"]
    done = subprocess.run(argv, input=FILES[title], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_data_set_keeps_the_contract(added: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = data.datasets()["theatre"]
    (tmp_path / "contract").mkdir()
    data_contract.test_every_data_set_keeps_the_contract(kind, tmp_path / "contract")
    assert run_tests(added / "tests/data/readers/test_theatre.py", tmp_path / "tests") == 1
    data.data_list()
    assert "theatre" in capsys.readouterr().out


@pytest.mark.slow
def test_the_recipe_keeps_the_contract(added: Path) -> None:
    kind = discover(surgvl.pretrain, Recipe)["clip_order"]
    losses = recipe_contract.losses(kind, "", 60)
    assert losses[:10] == recipe_contract.losses(kind, "", 10)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    recipe = recipe_contract.build(kind, "")
    recipe({"video": recipe_contract.clips()})["loss"].backward()
    assert all(weight.grad is not None for weight in recipe.encoder.parameters())


@pytest.mark.slow
def test_the_recipe_file_parses(added: Path) -> None:
    file = added / "surgvl/recipes/clip_order_phantom.yaml"
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# surgvl pretrain --recipe clip_order_phantom ")
    _, _, config = cli.parse(["pretrain", "--config", str(file), "--manifest", "manifest", "--out", "out"])
    assert config.run.steps == 500


def test_the_published_model_is_known_by_its_name(
    added: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(published, "REGISTRY", added / "surgvl/models/registry")
    assert cli.main(["models", "info", "theatre-clip"]) == 0
    said = capsys.readouterr().out
    assert "commercial use: no" in said
    assert "`surgvl models fetch theatre-clip --accept_licence`" in said


def test_the_prompt_set_and_the_task_score_the_phantom(added: Path, tiny_run: Path, tmp_path: Path) -> None:
    assert run_tests(added / "tests/tasks/test_pooled_tool.py", tmp_path / "tests") == 1
    file = added / "prompts/phantom_tool.yaml"
    assert tuple(row.name for row in prompts.load(file).classes) == CHOLEC80_TOOLS
    manifest, vectors, out = (str(folder) for folder in (tiny_run / "manifest", tmp_path / "vectors", tmp_path / "out"))
    embed = ["embed", "--model", str(tiny_run / "align"), "--manifest", manifest, "--split", "test"]
    cli.run([*embed, "--prompt_sets", str(file), "--out", vectors])
    cli.run(["eval", "--vectors", vectors, "--manifest", manifest, "--tasks", "pooled_tool", "--out", out])
    (result,) = read_results(tmp_path / "out" / "result.json")
    assert (result.task, result.metric, result.num_videos) == ("pooled_tool", "mAP", 1)
    assert 0 < result.value <= 1
    assert set(result.baselines) == {"constant", "random"}
    assert "phantom_tool v1" in result.protocol


def test_an_unknown_name_is_told_the_new_ones(added: Path) -> None:
    assert choose(surgvl.pretrain, Recipe, "clip_order").__name__ == "ClipOrder"
