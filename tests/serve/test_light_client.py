"""A question to a server imports neither torch nor transformers, which take seconds and a client need not install."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import FakeGateway  # noqa: E402
from tests.helpers.fake_openai import FakeOpenAI  # noqa: E402
from tests.helpers.made_organs import QUESTION, made_manifest  # noqa: E402

# Packages that are not installed cannot be imported, in whatever way. Commands come one a line.
ASK = """
import contextlib, io, json, sys
heavy = ("torch", "torchvision", "transformers", "peft", "lightning")
sys.modules.update(dict.fromkeys(heavy))
from surgvl.cli import main as cli
for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = cli.main(json.loads(line))
    print(json.dumps([status, said.getvalue()]), flush=True)
"""
CLIP = ["--clip.num_frames", "1", "--clip.size_px", "64"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    made_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def general() -> Iterator[str]:
    fake = FakeOpenAI(can=frozenset({"image"}))
    fake.answer = lambda frames, text: "A" if frames is not None else "yes"
    with served(fake.app) as url:
        yield url


Run = Callable[..., str]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """What a command prints; all run in one process, which need not import again what the first one has."""
    light = subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(*words: str) -> str:
        assert light.stdin
        assert light.stdout
        light.stdin.write(json.dumps(words) + "\n")
        light.stdin.flush()
        status, said = json.loads(light.stdout.readline())
        assert status == 0
        return str(said)

    yield ask
    light.communicate()


@pytest.mark.slow
def test_one_question_to_a_general_model(run: Run, general: str, made: Path) -> None:
    video = str(made / "test_red")
    assert run("ask", video, QUESTION, "--server", general, "--answers", "gut", "liver", *CLIP) == "gut\n"


@pytest.mark.slow
def test_one_question_to_surgvl_serve(run: Run, made: Path) -> None:
    preprocess = {"num_frames": 2, "fps": 1.0, "size_px": 8, "crop": "none"}
    chat: dict[str, Any] = {"preprocess": preprocess, "hash": "0", "trained": {}, "end_id": None}
    chat |= {"answers": [], "questions": {}}
    gate = FakeGateway({"version": "1", "chat": chat})
    gate.answer = lambda frames, question, choices: f"{question} {frames.shape}"
    with served(gate.app) as url:
        assert run("ask", str(made / "test_red"), "Which?", "--server", url) == "Which? (2, 8, 8, 3)\n"


@pytest.mark.slow
def test_a_manifest_with_controls(run: Run, general: str, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers"
    run("ask", "--manifest", str(made / "manifest"), "--out", str(out), "--server", general, "--controls", *CLIP)
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert {row["ablated"] for row in rows} == {"", "no_video", "black", "other", "order 2"}
    assert [row["prediction"] for row in rows if not row["ablated"]] == ["gut"] * 8
