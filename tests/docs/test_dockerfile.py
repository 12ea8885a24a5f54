"""The Dockerfile, read as text, for no container can run in a test: what it copies, installs and starts is there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from surgvl.cli import main as cli
from tests.helpers.markdown_blocks import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
# The environment's programs come first.
PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class Step(NamedTuple):
    """An instruction with its words."""

    name: str
    words: str


def steps(text: str) -> list[Step]:
    """Instructions in order, continued lines joined, comments left out."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M)).splitlines()
    return [Step(*line.split(maxsplit=1)) for line in lines if line.strip()]


def words_of(name: str) -> list[str]:
    return [step.words for step in steps(TEXT) if step.name == name]


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    sources = {source for words in words_of("COPY") for source in words.split()[:-1]}
    assert sources == kept
    assert all((ROOT / source).exists() for source in sources)
    # The targets of the links below surgvl/, without which they lead nowhere.
    links = {path.readlink().name for path in (ROOT / "surgvl").iterdir() if path.is_symlink()}
    assert links <= sources
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {metadata["readme"], *metadata["license-files"]} <= sources


def test_extras_are_those_of_the_package() -> None:
    given = [words.partition("=")[2] for words in words_of("ARG")] + re.findall(r"EXTRAS=([\w,]+)", TEXT)
    assert len(given) >= 3
    for extras in given:
        assert set(extras.split(",")) <= set(EXTRAS), extras


def test_versions_are_those_that_were_tested_and_dependencies_come_before_the_code() -> None:
    installs = [words for words in words_of("RUN") if "pip install" in words]
    assert all(
        "--constraint constraints.txt" in each
        for words in installs
        for each in words.split("&&")[:2]
        if "--no-deps" not in each
    )
    order = [step.words for step in steps(TEXT)]
    assert order.index("surgvl surgvl") > order.index(installs[0])
    assert "http" not in TEXT


# What the image's steps call, replaced by programs that write down their words; the shell and printf are real.
STUB = """#!/bin/sh
{ echo "$(basename "$0")"; printf '%s\\n' "$@"; echo; } >> "$CALLS"
"""


@pytest.mark.parametrize("extras", ["all", "train,eval,gpu"])
def test_its_steps_run_in_a_shell(extras: str, tmp_path: Path) -> None:
    """A step runs where there is only what was copied before it; files that it names exist, as do the extras."""
    place, programs, calls = tmp_path / "place", tmp_path / "programs", tmp_path / "calls"
    place.mkdir()
    programs.mkdir()
    for name in ("apt-get", "useradd", "mkdir", "chown", "rm", "pip", "uv"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    called: list[list[str]] = []
    for step in steps(TEXT):
        if step.name == "COPY":
            *sources, target = step.words.split()
            for source in sources:
                (place / target / source if target.endswith("/") else place / target).symlink_to(ROOT / source)
        if step.name == "RUN":
            calls.write_text("")
            environment = {"PATH": f"{programs}:{os.environ['PATH']}", "EXTRAS": extras, "CALLS": str(calls)}
            subprocess.run(["sh", "-euc", step.words], cwd=place, env=environment, check=True)
            called += [each.split("\n") for each in calls.read_text().split("\n\n") if each]
            for words in called:
                for flag in ("--constraint", "--requirement"):
                    assert flag not in words or (place / words[words.index(flag) + 1]).is_file()
    assert [words[:2] for words in called if words[0] == "apt-get"] == (
        [["apt-get", "update"], ["apt-get", "install"]] if "gpu" in extras else []
    )
    (packages,) = [words for words in called if words[:3] == ["uv", "pip", "install"] and "--requirement" in words]
    asked = [packages[at + 1] for at, word in enumerate(packages) if word == "--extra"]
    assert asked == extras.split(",")
    assert called[-1] == ["uv", "pip", "install", "--system", "--no-cache", "--no-deps", "."]


@pytest.mark.skipif(shutil.which("uv", path=PROGRAMS) is None, reason="uv, which `make` installs, is not here")
def test_flags_of_its_installer_are_known() -> None:
    installs = [part for words in words_of("RUN") for part in words.split("&&") if part.strip().startswith("uv pip")]
    assert len(installs) == 2
    for step in installs:
        _, *words = shlex.split(re.sub(r"\$\(.*\)", "--extra all", step))
        # An unknown flag is an error before it comes to the last one.
        argv = [str(shutil.which("uv", path=PROGRAMS)), *words]
        assert subprocess.run([*argv, "--help"], capture_output=True).returncode == 0
        assert subprocess.run([*argv, "--no-such-flag", "--help"], capture_output=True).returncode == 2


def test_the_user_is_not_root_and_what_starts_is_a_command() -> None:
    found = steps(TEXT)
    names = [step.name for step in found]
    last_user = max(at for at, name in enumerate(names) if name == "USER")
    assert found[last_user].words not in ("root", "0")
    assert "RUN" not in names[last_user:]
    (entry,), (default,) = words_of("ENTRYPOINT"), words_of("CMD")
    assert json.loads(entry) == ["surgvl"]
    function, _, config = cli.parse(json.loads(default))
    assert function.__name__ == "demo"
    assert words_of("EXPOSE") == [str(config.port)]


def test_steps_are_read_as_docker_does() -> None:
    assert steps("# note\nRUN a \\\n    && b\n\nUSER me\n") == [Step("RUN", "a      && b"), Step("USER", "me")]
    with pytest.raises(TypeError):
        steps("RUN\n")
