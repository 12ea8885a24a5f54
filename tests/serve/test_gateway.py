"""The gateway in front of the engines: who gets in, what is passed on, and what happens when one of them goes."""

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.engine_process import EngineProcess  # noqa: E402
from surgvl.serve.gateway import Gateway  # noqa: E402
from surgvl.serve.http_errors import RequestError, hide_paths  # noqa: E402
from surgvl.serve.media_check import MediaRules  # noqa: E402
from tests.helpers.fake_engine import event, served  # noqa: E402
from tests.helpers.gateway_stand import CHAT, Stand, refusal, until  # noqa: E402


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Stand(tmp_path_factory.mktemp("gateway")).running() as running:
        yield running


@pytest.fixture
def stand(running: Stand) -> Stand:
    return running.fresh()


# ---- who is let in


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "key"}, {"Authorization": "Bearer KEY"}, {"x-api-key": "key"}]
)
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/surgvl/about", "/nowhere"])
def test_nobody_gets_in_without_the_key(stand: Stand, header: dict[str, str], path: str) -> None:
    answer = httpx.post(stand.client.base_url.join(path), headers=header, json={"messages": []})
    assert "Authorization: Bearer" in refusal(answer, 401)
    assert not stand.chat.asked


def test_the_state_needs_no_key(stand: Stand) -> None:
    answer = httpx.get(stand.client.base_url.join("/health"))
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "engines": {"chat": "ready", "embed": "ready"}}


def test_without_a_key_everybody_gets_in(tmp_path: Path) -> None:
    with served(Gateway({}, MediaRules(), about={"version": "2"}).app) as url:
        assert httpx.get(f"{url}/surgvl/about").json() == {"version": "2"}


# ---- what is passed on


def test_requests_go_to_their_engine_as_they_are(stand: Stand) -> None:
    asked = {"messages": [{"role": "user", "content": "naïve 手術 \u2028"}], "temperature": 0, "n": None, "seed": 2**40}
    answer = stand.client.post(CHAT, json=asked)
    assert (answer.status_code, answer.json()) == (200, {"echo": asked, "model": "surgvl-chat"})
    answer = stand.client.post("/v1/embeddings", json={"input": ["a", "b"]})
    assert answer.json() == {"echo": {"input": ["a", "b"]}, "model": "surgvl-embed"}
    assert (len(stand.chat.asked), len(stand.embed.asked)) == (1, 1)


def test_names_of_models_are_joined_and_say_no_folder(stand: Stand) -> None:
    answer = stand.client.get("/v1/models")
    assert [each["id"] for each in answer.json()["data"]] == ["surgvl-chat", "surgvl-embed"]
    assert "secret" not in answer.text
    assert stand.client.get("/surgvl/about").json() == {"version": "1"}


def test_a_stream_is_passed_on_as_it_comes(stand: Stand) -> None:
    with stand.client.stream("POST", CHAT, json={"messages": [{"role": "user", "content": "wait"}]}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in answer.iter_lines() if line)
        # The engine says nothing more until it is told to: whoever collects the whole answer would wait for ever.
        assert next(lines) == "data: first"
        stand.chat.go_on.set()
        assert list(lines) == ["data: second", "data: [DONE]"]


@pytest.mark.parametrize("text", ["slow", "wait"])
def test_a_client_that_goes_ends_the_work_of_the_engine(stand: Stand, text: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    with socket.create_connection((stand.client.base_url.host, stand.client.base_url.port)) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert until(lambda: stand.chat.asked)
        if text == "wait":
            assert b"first" in b"".join(iter(lambda: client.recv(1), b":")) + client.recv(4096)
        assert not stand.chat.left
    assert until(lambda: stand.chat.left == [text])
    assert stand.ask("after").status_code == 200
    assert stand.gateway.memory.free == stand.gateway.memory.size


# ---- engines that are not there


def test_an_engine_that_starts_asks_for_patience(stand: Stand) -> None:
    for state in ("starting", "restarting"):
        stand.engines["chat"].state = state
        answer = stand.ask("hello")
        assert state in refusal(answer, 503)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        health = stand.client.get("/health")
        assert (health.status_code, health.json()["engines"]) == (503, {"chat": state, "embed": "ready"})
        assert health.json()["status"] == state
    stand.engines["chat"].state = "failed"
    answer = stand.ask("hello")
    assert "restart the server" in refusal(answer, 503)
    assert "Retry-After" not in answer.headers
    assert stand.client.post("/v1/embeddings", json={"input": "still here"}).status_code == 200
    assert [each["id"] for each in stand.client.get("/v1/models").json()["data"]] == ["surgvl-embed"]


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[tuple[Any, list[bytes]]]:
    """A gateway before an engine that says some bytes and ends, and those bytes."""
    says: list[bytes] = [b""]
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()

        def die() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(says[0])

        threading.Thread(target=die, daemon=True).start()
        engine = EngineProcess("chat", tmp_path, "surgvl-chat", place, tmp_path / "log")
        engine.state = "ready"
        with served(Gateway({"chat": engine}, MediaRules()).app) as url, httpx.Client(base_url=url) as client:
            yield client, says
        listening.shutdown(socket.SHUT_RDWR)


ASKED = {"messages": [{"role": "user", "content": "hello"}]}


def test_an_engine_that_dies_under_a_request_gives_502(dying: tuple[Any, list[bytes]]) -> None:
    client, says = dying
    for words in (b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"):
        says[0] = words
        answer = client.post(CHAT, json=ASKED)
        assert "died during this request" in refusal(answer, 502)
        assert "Retry-After" in answer.headers
    says[0] = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n"
    )
    first, last = (line for line in client.post(CHAT, json=ASKED).text.splitlines() if line)
    assert first == "data: a"
    assert event(last)["error"]["code"] == 502


def test_an_engine_that_is_gone_gives_503(tmp_path: Path) -> None:
    engine = EngineProcess("chat", tmp_path, "surgvl-chat", tmp_path / "nothing", tmp_path / "log")
    engine.state = "ready"
    with served(Gateway({"chat": engine}, MediaRules()).app) as url:
        answer = httpx.post(url + CHAT, json=ASKED)
        assert "has just ended" in refusal(answer, 503)
        assert "Retry-After" in answer.headers


# ---- what is said


def test_errors_of_an_engine_name_no_path(stand: Stand) -> None:
    message = refusal(stand.ask("path"), 400)
    assert message == "cannot read (a path), /v1/models and None"
    assert "shadow" not in refusal(stand.ask("fail"), 502)


def test_only_paths_that_the_client_sent_may_be_named() -> None:
    line = "no '/etc/passwd', /tmp/a.mp4; see /v1/models and/or file:///usr/x"
    assert hide_paths(line, []) == "no '(a path)', (a path); see /v1/models and/or file://(a path)"
    assert hide_paths(line, ["file:///tmp/a.mp4"]) == "no '(a path)', /tmp/a.mp4; see /v1/models and/or file://(a path)"


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://127.0.0.1:9/a.mp4", "nothing is fetched"),
        ("file:///etc/passwd", "--media_folder"),
        (f"data:video/mp4;base64,{base64.b64encode(b'Not a video at all.' * 9).decode()}", "cannot be read"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
def test_media_that_are_not_taken_never_reach_an_engine(stand: Stand, url: str, part: str, path: str) -> None:
    asked = {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}]}
    assert part in refusal(stand.client.post(path, json=asked), 400)
    assert not stand.chat.asked + stand.embed.asked


def test_what_is_not_there_is_said(stand: Stand) -> None:
    assert "/v1/chat/completions" in refusal(stand.client.get("/v1/completions"), 404)
    assert refusal(stand.client.get(CHAT), 405)
    with served(Gateway({"embed": stand.engines["embed"]}, MediaRules()).app) as url:
        assert "only surgvl-embed" in refusal(httpx.post(url + CHAT, json=ASKED), 404)


def test_a_refusal_has_a_type() -> None:
    assert RequestError(413, "too large: send less").body() == {
        "error": {"message": "too large: send less", "type": "request_too_large", "code": 413}
    }
