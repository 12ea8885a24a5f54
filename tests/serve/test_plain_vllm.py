"""A tiny Qwen3-VL and an adapter of it, served by plain vLLM: all questions of a manifest, killed and resumed."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.files import read_json  # noqa: E402
from surgvl.data.manifest import QA, Manifest  # noqa: E402
from surgvl.serve.engine_process import CPU_SERVER  # noqa: E402
from tests.helpers.killed_asking import run_killed_after  # noqa: E402
from tests.helpers.made_vision_language import save_qwen3_vl  # noqa: E402
from tests.helpers.patience import patience  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install 'surgvl[serve]'"
    ),
]
NUM_QUESTIONS, KILLED_AT = 50, 20
CLIP = ["--clip.num_frames", "4", "--clip.size_px", "64", "--reply.max_tokens", "8"]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # One process, and threads that share the cores with the tests.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


class Plain:
    """vLLM's own server.

    Attributes:
        url: its address.
        manifest: of the questions.
        model: folder of the model.
    """

    def __init__(self, place: Path, manifest: Path, model: Path, adapter: Path) -> None:
        self.manifest, self.model = manifest, model
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        flags = ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048"]
        flags += ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--skip-mm-profiling"]
        flags += ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"tuned={adapter / 'model'}"]
        self.log = place / "vllm.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *CPU_SERVER, str(model), *flags],
                stdout=log,
                stderr=log,
                env={**ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": "1"},
            )

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + patience(120)
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def num_done(self) -> int:
        """Requests that it has finished, but for those that were aborted."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        done = [line for line in lines if line.startswith("vllm:request_success_total") and '"abort"' not in line]
        return sum(round(float(line.rpartition(" ")[2])) for line in done)


@pytest.fixture(scope="module")
def plain(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """The server, with a model and an adapter that `surgvl tune` made of it."""
    place = tmp_path_factory.mktemp("plain")
    table = Manifest.load(tiny_run / "manifest")
    rows = table.select(table.video_ids("test")).qa_table.to_pylist()
    few = rows[:: len(rows) // NUM_QUESTIONS][:NUM_QUESTIONS]
    train = table.select(table.video_ids("train")).qa_table.to_pylist()[:8]
    Manifest(table.video_table, (), [QA(**row) for row in [*train, *few]], table.root).save(place / "manifest")
    model = save_qwen3_vl(place / "model")
    words = ["tune", "--manifest", str(place / "manifest"), "--model", f"hf:{model}", "--out", str(place / "tuned")]
    words += ["--run.steps", "2", "--run.batch", "2", "--optim.lr", "0.1", "--narration", "false"]
    cli.run([*words, "--clip.num_frames", "4", "--clip.size_px", "64"])
    server = Plain(place, place / "manifest", model, place / "tuned")
    try:
        server.wait()
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def ask(manifest: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    cli.run(["ask", "--manifest", str(manifest), "--out", str(out), *CLIP, *more])
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


def test_a_killed_run_goes_on_and_asks_nothing_twice(plain: Plain, tmp_path: Path) -> None:
    served = ["--server", plain.url, "--model", "tiny", "--in_flight", "1"]
    words = ["ask", "--manifest", str(plain.manifest), "--out", str(tmp_path / "there"), *CLIP, *served]
    run_killed_after(words, KILLED_AT)
    first = plain.num_done()
    kept = (tmp_path / "there" / "replies.jsonl").read_text().splitlines()
    assert len(kept) == KILLED_AT
    there = ask(plain.manifest, tmp_path / "there", *served, "--resume")
    assert len(there) == NUM_QUESTIONS
    lines = [json.loads(line) for line in (tmp_path / "there" / "replies.jsonl").read_text().splitlines()]
    # Of equal questions about equal frames, one is asked.
    assert len({row["key"] for row in lines}) == len(lines) == len({row["reply"] for row in there})
    probes = first - KILLED_AT
    assert plain.num_done() == len(lines) + 2 * probes
    # Questions with a single known answer have no options.
    assert {row["outcome"] for row in there if row["mode"] == "closed"} <= {"correct", "wrong"}
    record = read_json(tmp_path / "there" / "run.json")
    assert (record["closed_by"], record["sent_as"]) == ("choice", "video")
    assert re.match(r"\d+\.\d+", record["server"])
    # It has loaded the adapter, too.
    assert [each["id"] for each in httpx.get(f"{plain.url}/v1/models").json()["data"]] == ["tiny", "tuned"]
    # Sent as frames with their times in words, the model here says the same.
    frames = ["--clip.send", "frames"]
    by_server = ask(plain.manifest, tmp_path / "frames", *served, *frames)
    here = ask(plain.manifest, tmp_path / "here", "--model", f"hf:{plain.model}", *frames)
    assert [row["raw"] for row in here] == [row["raw"] for row in by_server]
    assert len({row["raw"] for row in here}) > 2
