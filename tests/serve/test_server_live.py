"""Two real engines behind `surgvl serve`: what users send and what goes wrong, until one engine is given up."""

import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.supervise import CLEANUP_S, GRACE_S  # noqa: E402
from tests.helpers import made_media  # noqa: E402
from tests.helpers.fake_engine import event  # noqa: E402
from tests.helpers.gateway_stand import CHAT, refusal, until  # noqa: E402
from tests.helpers.live import KEY, Live  # noqa: E402
from tests.helpers.made_media import data, frames, picture, shows  # noqa: E402
from tests.helpers.patience import patience  # noqa: E402
from tests.helpers.served import gone  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install 'surgvl[serve]'"
    ),
]
# The gateway holds 67 MB of bodies at a time, each in up to four forms.
MOST_MORE_MB = 300


def shared_memory(pids: list[int]) -> set[Path]:
    """Files in /dev/shm that processes have mapped."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found |= set(re.findall(r" (/dev/shm/\S+)$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE))
    return set(map(Path, found))


def chat_log(live: Live) -> Path:
    """The chat engine's log, in a folder with the engines' sockets."""
    return next(Path(word) for word in re.split(r"[\s,]+", live.served.said) if word.endswith("/chat.log"))


def text(words: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": words}]}


@pytest.fixture(scope="module", autouse=True)
def _picture(live: Live) -> None:
    (live.media / "deep").mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(live.media / "deep" / "a b.png")


@pytest.fixture(scope="module")
def video() -> bytes:
    """A video of 10 s."""
    return made_media.video(10.0)


def test_it_says_what_it_serves(live: Live) -> None:
    assert live.client.get("/health").json() == {"status": "ok", "engines": {"chat": "ready", "embed": "ready"}}
    names = [each["id"] for each in live.client.get("/v1/models").json()["data"]]
    assert names == ["surgvl-chat", "surgvl-embed"]
    about = live.client.get("/surgvl/about").json()
    assert about["chat"]["preprocess"]["num_frames"] > 1
    assert about["chat"]["questions"]
    line = next(line for line in live.served.said.splitlines() if "curl" in line)
    assert KEY not in line
    env = {**os.environ, "SURGVL_API_KEY": KEY}
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=env)
    assert json.loads(done.stdout)["object"] == "chat.completion"


def test_a_video_is_the_same_by_data_and_by_file(live: Live, video: bytes) -> None:
    (live.media / "v.mp4").write_bytes(video)
    first = live.vector(shows(data(video, "video/mp4"), words=""))
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-4)
    assert np.abs(live.vector(shows((live.media / "v.mp4").as_uri(), words="")) - first).max() < 1e-5
    assert live.chat(shows(data(video, "video/mp4"))).status_code == 200
    assert live.chat(shows((live.media / "deep" / "a b.png").as_uri(), "image_url")).status_code == 200


def test_the_end_of_a_long_list_of_frames_is_seen(live: Live) -> None:
    dark, light = picture(64, 64), picture(64, 64, colour=(255, 255, 255))
    assert (
        np.abs(
            live.vector(shows(frames(*[dark] * 32, *[light] * 8), words=""))
            - live.vector(shows(frames(*[dark] * 40), words=""))
        ).max()
        > 1e-3
    )


def test_a_stream_comes_in_parts(live: Live) -> None:
    asked = {"model": "surgvl-chat", "stream": True, "max_tokens": 64, "ignore_eos": True, **text("a")}
    with live.client.stream("POST", CHAT, json=asked) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    # On a busy machine several tokens may share a part.
    assert len(lines) > 4


def test_media_that_are_refused(live: Live, video: bytes, tmp_path: Path) -> None:
    # Who opens a pipe that nobody writes to waits for ever.
    os.mkfifo(tmp_path / "secret.mp4")
    (live.media / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (live.media / "text.mp4").write_text("This is a text.\n" * 100)
    whole = made_media.video(20.0)
    begun = time.monotonic()
    for url, status in (
        ("http://127.0.0.1:9/a.mp4", 400),
        ("file:///etc/passwd", 400),
        ((tmp_path / "secret.mp4").as_uri(), 400),
        ((live.media / "link.mp4").as_uri(), 400),
        ((live.media / "text.mp4").as_uri(), 400),
        (data(b"This is a text.\n" * 100, "video/mp4"), 400),
        (data(whole, "video/mp4"), 413),
        (data(video + b"\0" * 5_000_000, "video/mp4"), 413),
    ):
        for answer in (live.chat(shows(url)), live.embed(shows(url, words=""))):
            message = refusal(answer, status)
            assert "passwd" not in message
            assert str(tmp_path) not in message
    # The pipe would wait for ever.
    assert time.monotonic() - begun < patience(10)


def test_media_that_break_off_are_refused_and_the_engines_live(live: Live, video: bytes) -> None:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(out, "PNG")
    cut = out.getvalue()[:6000]
    assert "truncated" in refusal(live.chat(shows(data(cut, "image/png"), "image_url")), 400)
    assert refusal(live.chat(shows(frames(cut))), 400)
    holes = bytearray(video)
    holes[len(video) // 4 : len(video) // 2] = bytes(len(video) // 2 - len(video) // 4)
    for broken in (video[: len(video) // 2], bytes(holes)):
        for answer in (
            live.chat(shows(data(broken, "video/mp4"))),
            live.embed(shows(data(broken, "video/mp4"), words="")),
        ):
            assert answer.status_code in (200, 400), answer.text
    assert live.chat(text("hello")).status_code == 200
    assert live.client.get("/health").status_code == 200


def test_a_client_that_goes_ends_its_request(live: Live) -> None:
    transport = httpx.HTTPTransport(uds=str(chat_log(live).with_name("chat.sock")))
    with httpx.Client(transport=transport, base_url="http://engine") as inside:

        def running() -> float:
            found = re.findall(r"^vllm:num_requests_running\{.*\} (\S+)$", inside.get("/metrics").text, re.MULTILINE)
            return sum(map(float, found))

        # Seconds of work, in which the client goes.
        asked = {"model": "surgvl-chat", "max_tokens": 1900, "ignore_eos": True, "n": 8, **text("a")}
        address = live.client.base_url
        for stream in (False, True):
            body = json.dumps({**asked, "stream": stream}).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nHost: {address.host}\r\nAuthorization: Bearer {KEY}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            with socket.create_connection((address.host, address.port), timeout=120) as client:
                client.sendall(head.encode() + body)
                assert until(lambda: running() > 0, every_s=0.05)
                if stream:
                    assert client.recv(12) == b"HTTP/1.1 200"
            assert until(lambda: running() == 0, patience(1.5), every_s=0.05)


def most_mb(pid: int) -> float:
    """The most memory that a process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_a_hundred_megabytes_of_uploads_at_a_time(live: Live) -> None:
    url = data(made_media.video(2.0), "video/mp4")
    asked = [{**shows(url, words=f"What is seen in part {n}?"), "user": "x" * 4 * 10**6} for n in range(25)]
    gate = live.served.process.pid
    # From now on (proc(5)).
    Path(f"/proc/{gate}/clear_refs").write_text("5")
    before_mb = most_mb(gate)
    begun = time.monotonic()
    with (
        httpx.Client(base_url=live.url, headers=live.client.headers, timeout=240) as client,
        ThreadPoolExecutor(len(asked)) as pool,
    ):
        answers = list(pool.map(lambda each: client.post(CHAT, json={"max_tokens": 2, **each}).status_code, asked))
    more_mb = most_mb(gate) - before_mb
    print(f"\n100 MB of uploads in {time.monotonic() - begun:.1f} s; the gateway took {more_mb:.0f} MB more at most")
    assert answers == [200] * len(asked)
    assert more_mb < MOST_MORE_MB


@pytest.mark.ends_server
def test_an_engine_that_is_killed_comes_back_and_ctrl_c_leaves_nothing(live: Live) -> None:
    """Under load, until it answers again; a fake engine that is killed once more is given up (test_server_process)."""
    stop = threading.Event()
    seen: Counter[int] = Counter()
    strange: list[str] = []
    events: list[int] = []

    def ask(stream: bool) -> None:
        with httpx.Client(base_url=live.url, headers=live.client.headers, timeout=120) as client:
            while not stop.is_set():
                asked = {"model": "surgvl-chat", "max_tokens": 64, "ignore_eos": True, "stream": stream, **text("a")}
                try:
                    answer = client.post(CHAT, json=asked)
                except httpx.HTTPError as error:
                    strange.append(repr(error))
                    return
                seen[answer.status_code] += 1
                if answer.status_code == 200:
                    last = [line for line in answer.text.splitlines() if line][-1]
                    if stream and last != "data: [DONE]":
                        events.append(event(last)["error"]["code"])
                    continue
                if answer.json()["error"]["code"] != answer.status_code or "engine" not in answer.text:
                    strange.append(answer.text)
                time.sleep(0.2)

    threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert until(lambda: seen[200] >= 4)
    family = live.family("chat")
    os.kill(live.engine("chat", "server"), signal.SIGKILL)
    assert gone(family)
    assert until(lambda: live.client.get("/health").status_code == 503)
    assert live.client.get("/health").json()["engines"] == {"chat": "restarting", "embed": "ready"}
    answer = live.chat(text("hello"))
    assert "restarting" in refusal(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1
    assert live.embed({"input": "still here"}).status_code == 200
    before = seen[200]
    assert until(lambda: live.client.get("/health").status_code == 200, 600, every_s=0.1)
    assert until(lambda: seen[200] >= before + 4)
    stop.set()
    for thread in threads:
        thread.join(300)
    assert not strange
    assert set(seen) <= {200, 502, 503}
    assert seen[502] + len(events) > 0
    assert set(events) <= {502}
    assert live.served.process.poll() is None

    # Ctrl-C where one engine answers and the other one, whose core was killed, starts again.
    mapped = shared_memory(live.family("chat", "embed"))
    os.kill(live.engine("embed", "core"), signal.SIGKILL)
    assert until(lambda: live.client.get("/health").json()["engines"] == {"chat": "ready", "embed": "restarting"})
    assert until(lambda: len(live.family("embed")) >= 2, every_s=0.1)
    family = live.family("chat", "embed")
    mapped |= shared_memory(family)
    assert len(family) >= 5
    limit_s, begun = patience(GRACE_S + 2 * CLEANUP_S), time.monotonic()
    assert live.served.end(signal.SIGINT) == 0
    assert time.monotonic() - begun < limit_s
    # What watches over an engine has just said that it has ended.
    assert gone(family, patience(0.1))
    assert not [path for path in mapped if path.exists()]
    assert not chat_log(live).parent.exists()
    chat, embed = live.served.errors().splitlines()
    assert "the chat engine was killed by signal 9" in chat
    assert "the embed engine " in embed
    assert chat.endswith("; restarting it once")
    assert embed.endswith("; restarting it once")
