"""`surgvl serve` as a process, before a stand-in for vLLM: start, death, restart, and that nothing is left behind."""

import contextlib
import importlib.util
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from tests.helpers.fake_vllm import KINDS, model_folder, serving  # noqa: E402
from tests.helpers.served import alive, below, gone, words_of  # noqa: E402

# Importing it takes half a minute, and nothing of it is used here.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install 'surgvl[serve]'"
    ),
]


def test_both_at_one_address_until_ctrl_c(tmp_path: Path) -> None:
    with serving("all", tmp_path, "--engine_args", "--max-model-len", "512", SURGVL_API_KEY="k1") as served:
        url = served.url
        assert httpx.get(f"{url}/health").json() == {"status": "ok", "engines": {"chat": "ready", "embed": "ready"}}
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer k1"}) as client:
            about = client.get("/surgvl/about").json()
            shape = {"num_frames": 8, "fps": 4.0, "size_px": 64, "crop": "none", "anchor": "centre", "step_s": 1.0}
            shape |= {"geometry": "squash", "resize_px": [0, 0], "interpolation": "area"}
            assert about["chat"]["preprocess"] == shape
            assert (about["chat"]["answers"], about["chat"]["questions"]) == (["yes", "no"], {"Is it?": "x"})
            assert about["chat"]["end_id"] == 2
            assert re.fullmatch("[0-9a-f]{16}", about["embed"]["hash"])
            assert about["embed"]["hash"] != about["chat"]["hash"]
            assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["surgvl-chat", "surgvl-embed"]
        assert httpx.get(f"{url}/v1/models").status_code == 401

        # The line to try works as it is printed, and the key is not in it.
        line = next(line for line in served.said.splitlines() if "curl" in line)
        assert "k1" not in line
        done = subprocess.run(["bash", "-c", line], capture_output=True, env={**os.environ, "SURGVL_API_KEY": "k1"})
        assert json.loads(done.stdout)["model"] == "surgvl-chat"

        for role in KINDS:
            (log,) = served.temporary.glob(f"*/{role}.log")
            assert "'--max-model-len', '512'" in log.read_text()
            assert "env None 1" in log.read_text()
        pids = [served.pid(role, name) for role in KINDS for name in ("pid", "child")]
        assert all(map(alive, pids))
        assert served.end(signal.SIGINT) == 0
        assert gone(pids, 0)
        assert served.errors() == ""
        assert not list(served.temporary.iterdir())


def test_nothing_is_left_when_the_launcher_goes(tmp_path: Path) -> None:
    ends = {signal.SIGTERM: 0, signal.SIGKILL: -9}
    with contextlib.ExitStack() as stack:
        servers = {}
        for number in ends:
            place = tmp_path / str(int(number))
            place.mkdir()
            model_folder(place / "chat", "surgvl_chat").joinpath("stubborn").touch()
            servers[number] = stack.enter_context(serving("chat", place))
        left = {}
        for number, served in servers.items():
            assert served.url
            left[number] = [served.pid("chat"), served.pid("chat", "child")]
            served.process.send_signal(number)
        for number, status in ends.items():
            assert servers[number].process.wait(300) == status
            assert gone(left[number])


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    with serving("chat", tmp_path) as served:
        served.until("starting chat")
        assert served.end() == 0
        assert not list(served.temporary.iterdir())


def test_a_dead_engine_is_started_once_more_and_then_given_up(tmp_path: Path) -> None:
    with serving("all", tmp_path) as served:
        url = served.url
        ask: dict[str, Any] = {"messages": [{"role": "user", "content": "slow"}]}
        first, child = served.pid("chat"), served.pid("chat", "child")
        other = served.pid("embed")
        with contextlib.suppress(httpx.TimeoutException):
            httpx.post(f"{url}/v1/chat/completions", json=ask, timeout=0.5)
        os.kill(first, signal.SIGKILL)
        # What the engine left is gone before the next one starts.
        assert gone([child])
        seen = set()
        until = time.monotonic() + 300
        while (answer := httpx.post(f"{url}/v1/chat/completions", json={"messages": []})).status_code != 200:
            assert answer.status_code in (502, 503), answer.text
            assert "engine" in answer.json()["error"]["message"]
            assert httpx.post(f"{url}/v1/embeddings", json={"input": "a"}).status_code == 200
            seen.add(answer.status_code)
            assert time.monotonic() < until
        assert 503 in seen
        assert served.process.poll() is None

        second = served.pid("chat")
        assert second != first
        os.kill(second, signal.SIGKILL)
        assert served.process.wait(300) == 1
        said = served.errors()
        assert "the chat engine was killed by signal 9" in said
        assert "restarting it once" in said
        assert "the chat engine was killed by signal 9 again" in said.splitlines()[-1]
        assert "giving up: see " in said.splitlines()[-1]
        assert gone([other, served.pid("embed", "child"), served.pid("chat", "child")])
        assert Path(said.split("see ")[-1].strip()).is_file()


def test_an_engine_that_does_not_start_says_why(tmp_path: Path) -> None:
    model_folder(tmp_path / "chat", "surgvl_chat").joinpath("broken").touch()
    with serving("chat", tmp_path) as served:
        assert served.process.wait(300) == 1
        line = served.errors()
        assert line.startswith("surgvl: the chat engine did not start (ValueError: no such layer): see ")
        assert line.count("\n") == 1


def test_a_key_a_taken_port_and_idle_connections_that_use_up_the_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        running = serving("chat", tmp_path, "--api_key", "s3cret-key", fork=False)
        served = running.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.ExitStack() as stack:
        stack.push(running)
        url = httpx.URL(served.url)
        # Meanwhile another one wants its port.
        other = stack.enter_context(serving("chat", tmp_path, "--port", str(url.port)))

        # The key shows in no list of processes.
        key = {"Authorization": "Bearer s3cret-key"}
        assert httpx.get(url.join("/v1/models"), headers=key).status_code == 200
        assert httpx.get(url.join("/v1/models")).status_code == 401
        shown = [words_of(pid) for pid in (served.process.pid, *below(served.process.pid))]
        assert "serve chat" in shown[0]
        assert not [words for words in shown if "s3cret" in words]
        assert "s3cret" not in served.said

        # It answers when idle connections use up its descriptors.
        for _ in range(400):
            stack.enter_context(socket.create_connection((url.host, url.port)))
        for _ in range(2):
            assert httpx.get(url.join("/health"), timeout=120).status_code == 200
        asked: dict[str, Any] = {"json": {"messages": []}, "headers": key, "timeout": 120}
        assert httpx.post(url.join("/v1/chat/completions"), **asked).status_code == 200

        assert other.process.wait(300) == 1
        assert f"--port {url.port} (Address already in use)" in other.errors()
        assert served.end() == 0
        said = served.errors()
    assert "ulimit -n" in said
    assert "Traceback" not in said
