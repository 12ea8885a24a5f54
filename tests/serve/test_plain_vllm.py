"""A tiny Qwen3-VL and an adapter of it, served by plain vLLM: all questions of a manifest, killed and resumed.

The same models in this process, and the same server behind our gateway, say the same. Where SURGVL_BY_HAND is set,
`surgvl serve chat` starts an engine of its own for the adapter.
"""

import importlib.util
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.api import load_answerer  # noqa: E402
from surgvl.chat.answerer import Question  # noqa: E402
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig, Send  # noqa: E402
from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.arrays import UInt8Array  # noqa: E402
from surgvl.core.files import read_json  # noqa: E402
from surgvl.data.manifest import QA, Manifest  # noqa: E402
from surgvl.serve.engine_process import CPU_SERVER, EngineProcess  # noqa: E402
from surgvl.serve.gateway import Gateway  # noqa: E402
from surgvl.serve.general_model import describe_general  # noqa: E402
from surgvl.serve.media_check import MediaRules  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.killed_asking import run_killed_after  # noqa: E402
from tests.helpers.made_vision_language import save_qwen3_vl  # noqa: E402
from tests.helpers.patience import patience  # noqa: E402
from tests.helpers.ports import free_port  # noqa: E402
from tests.helpers.served import Served  # noqa: E402
from tests.helpers.vllm_forks import SMALL_CACHE, VllmForks  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install 'surgvl[serve]'"
    ),
]
NUM_QUESTIONS, KILLED_AT, EVERY = 12, 5, 3
CLIP = ["--clip.num_frames", "4", "--clip.size_px", "64", "--reply.max_tokens", "4"]


class Plain:
    """vLLM's own server.

    Attributes:
        url: its address.
        port: its port.
        place: with `manifest` (all questions), `few` (every fourth), `model` and the adapter `tuned`.
    """

    def __init__(self, place: Path, forks: VllmForks) -> None:
        self.place, self.manifest = place, place / "manifest"
        self.port = port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        flags = ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048"]
        flags += ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--skip-mm-profiling"]
        flags += ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"tuned={place / 'tuned' / 'model'}"]
        self.log = place / "vllm.log"
        flags += SMALL_CACHE
        self.engine = forks.start(self.log, *CPU_SERVER, str(place / "model"), *flags)
        self._said: dict[tuple[str, Send], list[str]] = {}

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + patience(120)
        while time.monotonic() < until:
            assert self.engine.exit_status() is None, self.log.read_text()[-3000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def said(self, name: str, send: Send) -> list[str]:
        """What one of its models writes, asked the few questions once."""
        if (name, send) not in self._said:
            out, asked = self.place / f"{name} {send}", ("--clip.send", send, "--model", name, "--server", self.url)
            self._said[name, send] = said(self.place / "few", out, *asked)
        return self._said[name, send]

    def num_done(self) -> int:
        """Requests that it has finished, but for those that were aborted."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        done = [line for line in lines if line.startswith("vllm:request_success_total") and '"abort"' not in line]
        return sum(round(float(line.rpartition(" ")[2])) for line in done)


def make_models(place: Path, run: Path, picture_mean: float = 0.5) -> None:
    """A model, an adapter that `surgvl tune` made of it, and the manifests of the questions."""
    table = Manifest.load(run / "manifest")
    rows = table.select(table.video_ids("test")).qa_table.to_pylist()
    asked = rows[:: len(rows) // NUM_QUESTIONS][:NUM_QUESTIONS]
    train = table.select(table.video_ids("train")).qa_table.to_pylist()[:8]
    for name, few in (("manifest", asked), ("few", asked[::EVERY])):
        Manifest(table.video_table, (), [QA(**row) for row in [*train, *few]], table.root).save(place / name)
    save_qwen3_vl(place / "model", picture_mean=picture_mean)
    words = ["tune", "--manifest", str(place / "manifest"), "--model", f"hf:{place / 'model'}"]
    words += ["--out", str(place / "tuned"), "--narration", "false", "--clip.num_frames", "4", "--clip.size_px", "64"]
    # So strongly that it answers otherwise.
    cli.run([*words, "--run.steps", "2", "--run.batch", "2", "--optim.lr", "0.1"])


@pytest.fixture(scope="module")
def plain(tiny_run: Path, vllm_forks: VllmForks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """The server."""
    place = tmp_path_factory.mktemp("plain")
    make_models(place, tiny_run)
    server = Plain(place, vllm_forks)
    try:
        server.wait()
        yield server
    finally:
        server.engine.stop()


def noise() -> UInt8Array:
    """A clip uint8 [4, 36, 64, 3]."""
    return np.random.default_rng(1).integers(0, 256, (4, 36, 64, 3), np.uint8)


def ask(manifest: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    cli.run(["ask", "--manifest", str(manifest), "--out", str(out), *CLIP, *more])
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


def test_a_killed_run_goes_on_and_asks_nothing_twice(plain: Plain, tmp_path: Path) -> None:
    served = ["--server", plain.url, "--model", "tiny", "--in_flight", "1"]
    # Of other tests.
    before = plain.num_done()
    words = ["ask", "--manifest", str(plain.manifest), "--out", str(tmp_path / "there"), *CLIP, *served]
    run_killed_after(words, KILLED_AT)
    first = plain.num_done() - before
    kept = (tmp_path / "there" / "replies.jsonl").read_text().splitlines()
    assert len(kept) == KILLED_AT
    there = ask(plain.manifest, tmp_path / "there", *served, "--resume")
    assert len(there) == NUM_QUESTIONS
    lines = [json.loads(line) for line in (tmp_path / "there" / "replies.jsonl").read_text().splitlines()]
    # Of equal questions about equal frames, one is asked.
    assert len({row["key"] for row in lines}) == len(lines) == len({row["reply"] for row in there})
    probes = first - KILLED_AT
    assert plain.num_done() - before == len(lines) + 2 * probes
    # Questions with a single known answer have no options.
    assert {row["outcome"] for row in there if row["mode"] == "closed"} <= {"correct", "wrong"}
    record = read_json(tmp_path / "there" / "run.json")
    assert (record["closed_by"], record["sent_as"]) == ("choice", "video")
    assert re.match(r"\d+\.\d+", record["server"])
    # It has loaded the adapter, too.
    assert [each["id"] for each in httpx.get(f"{plain.url}/v1/models").json()["data"]] == ["tiny", "tuned"]
    here = ask(plain.manifest, tmp_path / "here", "--model", f"hf:{plain.place / 'model'}")
    assert [row["raw"] for row in here] == [row["raw"] for row in there]
    assert len({row["raw"] for row in here}) > 2
    # As sure of free text; of an option at most as sure, because vLLM lists 20 of the hundred tokens that there are.
    sure = {mode: [(a["confidence"], b["confidence"]) for a, b in zip(here, there, strict=True) if a["mode"] == mode]
            for mode in ("open", "closed")}  # fmt: skip
    assert [a for a, _ in sure["open"]] == pytest.approx([b for _, b in sure["open"]], abs=1e-4)
    assert all(0 < b <= a + 1e-4 <= 1 + 1e-4 for a, b in sure["closed"])
    assert sure["closed"]


def said(manifest: Path, out: Path, *more: str) -> list[str]:
    """What a model wrote."""
    return [row["raw"] for row in ask(manifest, out, *more)]


@pytest.mark.parametrize("send", ["video", "frames"])
def test_an_adapter_and_its_model_say_the_same_here_and_there(plain: Plain, tmp_path: Path, send: Send) -> None:
    few, clip, frames = plain.place / "few", ClipInput(num_frames=4, size_px=64, send=send), noise()
    told = []
    for there, here in (("tiny", f"hf:{plain.place / 'model'}"), ("tuned", str(plain.place / "tuned"))):
        told.append(plain.said(there, send))
        told.append(said(few, tmp_path / there, "--clip.send", send, "--model", here))
        # Each of both by one way of sending.
        if (there == "tuned") == (send == "frames"):
            scores = []
            for name, server in ((there, plain.url), (here, "")):
                answerer = load_answerer(name, server=server, clip=clip, reply=ReplyConfig(closed="likelihood"))
                answer = answerer.answer([Question(frames, "Which?", ("hook", "grasper", "clipper"))])[0]
                scores.append(dict(answer.probabilities))
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert told[0] == told[1] != told[2] == told[3]


def test_our_gateway_before_it_says_the_same(plain: Plain, tmp_path: Path) -> None:
    """By frames: it tells an engine how many frames a video has, which this one was not started to be told."""
    engine = EngineProcess("chat", plain.place, "tiny", plain.port, tmp_path / "log")
    engine.state = "ready"
    about = {"version": "1", "chat": describe_general("tuned")}
    few, frames = plain.place / "few", ("--clip.send", "frames")
    with served(Gateway({"chat": engine}, MediaRules(), about=about).app) as url:
        for name in ("tiny", "tuned"):
            behind = said(few, tmp_path / name, "--model", name, "--server", url, *frames)
            assert behind == plain.said(name, "frames")
            assert read_json(tmp_path / name / "run.json")["closed_by"] == "choice"
        # Without a name, that which it was started for.
        assert load_answerer(server=url).facts["model"] == "tuned"


@pytest.mark.skipif("SURGVL_BY_HAND" not in os.environ, reason="starts one more engine: set SURGVL_BY_HAND=1")
def test_surgvl_serve_hands_an_adapter_to_vllm(tiny_run: Path, tmp_path: Path) -> None:
    """Of a model whose pictures and videos are normalised apart, which vLLM does only where it is told so."""
    make_models(tmp_path, tiny_run, picture_mean=0.3)
    engine = ["--engine_args", "--max-model-len", "2048", "--skip-mm-profiling"]
    server = Served("chat", "--model", str(tmp_path / "tuned"), "--port", "0", *engine)
    try:
        for name, here in (("surgvl-base", f"hf:{tmp_path / 'model'}"), ("surgvl-chat", str(tmp_path / "tuned"))):
            there = said(tmp_path / "manifest", tmp_path / name, "--model", name, "--server", server.url)
            assert there == said(tmp_path / "manifest", tmp_path / f"{name}-here", "--model", here)
            assert read_json(tmp_path / name / "run.json")["sent_as"] == "video"
        assert server.end() == 0
    finally:
        server.drop()
