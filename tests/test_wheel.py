"""The wheel, built from the checkout or from the sdist, is whole: one import name, links followed, all files there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent

# Run outside the checkout, with the wheel before the environment's own packages.
IMPORTS = """
import sys
from pathlib import Path
import surgvl, surgvl.prompts, surgvl.commands.search, surgvl.demo.app
from surgvl.cli import main as cli
from surgvl.models.tokenizer import SentencePieceTokenizer
home = Path(sys.argv[1])
for module in (surgvl, surgvl.prompts, surgvl.commands.search, surgvl.demo.app):
    assert home in Path(module.__file__).parents, module.__file__
assert not [p for p in (home / "surgvl").rglob("*") if p.is_symlink()]
assert [surgvl.prompts.load(name).classes for name in surgvl.prompts.names()]
from surgvl.models.model_info import find_model
assert (find_model("phantom-chat") / "model.safetensors").stat().st_size > 10e6
assert cli.recipes("pretrain") and SentencePieceTokenizer().vocab_size > 100
assert cli.main([]) == 0
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of the checkout, and that of the sdist, which build makes first where it is not told `--wheel`."""
    found = {}
    for source, directly in (("checkout", ["--wheel"]), ("sdist", [])):
        out = tmp_path_factory.mktemp(source)
        argv = [sys.executable, "-m", "build", *directly, "--no-isolation", "--outdir", str(out), str(ROOT)]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (found[source],) = out.glob("*.whl")
    return found


def test_the_sdist_gives_the_same_wheel(wheels: dict[str, Path]) -> None:
    files = []
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            files.append({name: archive.read(name) for name in archive.namelist()})
    assert files[0] == files[1]


def test_every_file_of_the_package_is_inside_and_nothing_else(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["checkout"]) as archive:
        inside = set(archive.namelist())
    tops = {name.split("/")[0] for name in inside}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"surgvl"}
    wanted = {
        (Path(folder) / name).relative_to(ROOT).as_posix()
        for folder, _, names in os.walk(ROOT / "surgvl", followlinks=True)
        for name in names
        if not name.endswith(".pyc")
    }
    assert wanted <= inside
    for name in ("prompts/cholec80_phase.yaml", "recipes/align_phantom.yaml", "demo/templates/page.html"):
        assert f"surgvl/{name}" in inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)


def test_it_installs_and_imports_without_the_checkout(wheels: dict[str, Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    argv += ["--target", str(home)]
    done = subprocess.run([*argv, str(wheels["sdist"])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(home)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(home), "SURGVL_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert "surgvl demo" in done.stdout
