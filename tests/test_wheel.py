"""The wheel, built from the checkout or from the sdist, is whole: one import name, links followed, all files there."""

import contextlib
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tomllib
import warnings
import zipfile
import zlib
from functools import partial
from pathlib import Path

import hatchling.build
import pytest

from tests.helpers.in_fork import in_fork

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent


def imports(home: Path) -> None:
    """Import what was installed in a folder; in a fork, where all other packages have been imported already."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "surgvl"]:
        del sys.modules[name]
    sys.path[:] = [str(home), *(each for each in sys.path if each and Path(each).resolve() != ROOT)]
    os.chdir(home.parent)
    os.environ["SURGVL_CACHE"] = str(home.parent / "cache")
    warnings.simplefilter("ignore")

    import surgvl.commands.search
    import surgvl.demo.app
    import surgvl.prompts
    from surgvl.cli import main as cli
    from surgvl.models.model_info import find_model
    from surgvl.models.tokenizer import SentencePieceTokenizer

    for module in (surgvl, surgvl.prompts, surgvl.commands.search, surgvl.demo.app):
        assert home in Path(str(module.__file__)).parents, module.__file__
    assert not [path for path in (home / "surgvl").rglob("*") if path.is_symlink()]
    assert [surgvl.prompts.load(name).classes for name in surgvl.prompts.names()]
    assert (find_model("phantom-chat") / "model.safetensors").stat().st_size > 10e6
    assert cli.recipes("pretrain")
    assert SentencePieceTokenizer().vocab_size > 100
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert cli.main([]) == 0
    assert "surgvl demo" in said.getvalue()


def build(source: Path, out: Path, kind: str) -> Path:
    """What the build backend of a source tree makes, by PEP 517 as front ends call it; in a fork, for its folder."""

    def make() -> None:
        os.chdir(source)
        # Compressing takes longer than all else.
        vars(zlib)["Z_DEFAULT_COMPRESSION"] = zlib.Z_BEST_SPEED
        vars(gzip)["GzipFile"] = partial(gzip.GzipFile, compresslevel=zlib.Z_BEST_SPEED)
        if kind == "sdist":
            hatchling.build.build_sdist(str(out))
        else:
            hatchling.build.build_wheel(str(out))

    assert in_fork(make) == 0
    (found,) = out.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of the checkout, and that of the sdist."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["build-system"]["build-backend"] == "hatchling.build"
    out = {name: tmp_path_factory.mktemp(name) for name in ("checkout", "sdist", "unpacked")}
    with tarfile.open(build(ROOT, out["sdist"], "sdist")) as archive:
        archive.extractall(out["unpacked"], filter="data")
    (unpacked,) = out["unpacked"].iterdir()
    return {"checkout": build(ROOT, out["checkout"], "wheel"), "sdist": build(unpacked, out["sdist"], "wheel")}


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
    assert in_fork(lambda: imports(home)) == 0
