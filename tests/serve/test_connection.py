"""Connections to the gateway: large heads, slow bodies, silence, and more of them than there are file descriptors."""

import contextlib
import io
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from surgvl.serve import connection, request_body  # noqa: E402
from surgvl.serve.budget import Budget  # noqa: E402
from surgvl.serve.connection import MAX_HEADER_BYTES, connection_limit, uvicorn_options  # noqa: E402
from surgvl.serve.gateway import Gateway  # noqa: E402
from surgvl.serve.media_check import MediaRules  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.gateway_stand import CHAT, Stand, refusal, until  # noqa: E402


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Stand(tmp_path_factory.mktemp("gateway")).running(**uvicorn_options(1024)) as running:
        yield running


@pytest.fixture
def stand(running: Stand) -> Stand:
    return running.fresh()


@contextlib.contextmanager
def connected(url: Any) -> Iterator[socket.socket]:
    with socket.create_connection((url.host, url.port), timeout=20) as client:
        yield client


def head(size: int) -> bytes:
    """The head of a request for /health of so many bytes."""
    start, end = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.slow
def test_a_head_has_a_limit(stand: Stand) -> None:
    def status(*parts: bytes) -> bytes:
        with connected(stand.client.base_url) as client:
            # Who sends on after it was refused meets a closed connection.
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    client.sendall(part)
            with contextlib.suppress(ConnectionError):
                return client.recv(12)
            return b"closed"

    whole = head(200_000)
    assert status(head(60_000)) == b"HTTP/1.1 200"
    # In one piece or in many, as the system passes it on; the rest of it is never read.
    assert status(whole) in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"closed")
    assert status(*(whole[at : at + 1000] for at in range(0, len(whole), 1000))) in (
        b"HTTP/1.1 431",
        b"HTTP/1.1 400",
        b"closed",
    )
    endless = (b"X: " + b"x" * 10_000 + b"\r\n" for _ in range(5000))
    assert status(b"GET /health HTTP/1.1\r\nHost: localhost\r\n", *endless) in (b"HTTP/1.1 400", b"closed")
    large = {f"X-{each}": "x" * 1000 for each in range(70)}
    answer = httpx.get(stand.client.base_url.join("/health"), headers=large)
    assert answer.status_code in (400, 431)
    assert MAX_HEADER_BYTES == 65536


def slow_upload(client: socket.socket, size: int) -> None:
    """Begin a body and leave it."""
    words = (
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key\r\nContent-Type: application/json\r\n"
    )
    client.sendall(f"{words}Content-Length: {size}\r\n\r\n".encode() + b"{")


@pytest.mark.slow
def test_slow_uploads_take_no_place(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand.gateway, "memory", Budget(1_000_000))
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            slow_upload(stack.enter_context(connected(stand.client.base_url)), 900_000)
        assert stand.ask("hello").status_code == 200
        assert stand.gateway.memory.free == stand.gateway.memory.size


@pytest.mark.slow
def test_a_body_that_trickles_is_given_up(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "UPLOAD_SLACK_S", 0.5)
    with connected(stand.client.base_url) as client:
        slow_upload(client, 100_000)
        stop = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.1):
                    client.sendall(b" ")

        thread = threading.Thread(target=trickle)
        begun = time.monotonic()
        thread.start()
        assert client.recv(12) == b"HTTP/1.1 408"
        # A byte in a tenth of a second would take hours.
        assert time.monotonic() - begun < 100
        stop.set()
        thread.join()
    assert until(lambda: stand.gateway.disk.free == stand.gateway.disk.size)


@pytest.mark.slow
def test_a_body_that_comes_fast_enough_may_take_its_time(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "UPLOAD_SLACK_S", 1.0)
    monkeypatch.setattr(request_body, "MIN_UPLOAD_RATE", 1000)

    def parts() -> Iterator[bytes]:
        yield b'{"messages": [], "pad": "'
        for _ in range(6):
            time.sleep(0.2)
            yield b"x" * 10_000
        yield b'"}'

    kind = {"Content-Type": "application/json"}
    assert stand.client.post(CHAT, content=parts(), headers=kind).status_code == 200


def test_a_disk_without_room_is_said(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand.gateway, "disk", Budget(1000))
    answer = stand.ask("x" * 5000)
    assert "too many uploads" in refusal(answer, 503)
    assert "Retry-After" in answer.headers
    assert stand.ask("hello").status_code == 200
    assert stand.gateway.disk.free == 1000

    class Full(io.BytesIO):
        def write(self, part: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(stand.gateway, "disk", Budget(100_000))
    monkeypatch.setattr("surgvl.serve.posted.tempfile.SpooledTemporaryFile", lambda size: Full())
    assert "No space left" in refusal(stand.ask("hello"), 503)


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"GET /health HTTP/1.1\r\nHo", head(200).replace(b"Connection: close", b"A: b")])
def test_silence_ends_a_connection(stand: Stand, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.3)
    with connected(stand.client.base_url) as client:
        client.sendall(said)
        got = b""
        # An end, or a reset; the time-out of the socket would be an error.
        with contextlib.suppress(ConnectionError):
            while part := client.recv(4096):
                got += part
        assert (b"200 OK" in got) == said.endswith(b"\r\n\r\n")


def test_a_body_that_nobody_reads_ends_a_connection(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.3)
    with connected(stand.client.base_url) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")

        def ended() -> bool:
            try:
                client.sendall(b"x")
            except ConnectionError:
                return True
            return False

        assert until(ended)


def test_idle_connections_give_way() -> None:
    logged = BufferingHandler(10_000)
    logging.getLogger().addHandler(logged)
    # As many as the limit allows, and as many again.
    with (
        served(Gateway({}, MediaRules(), about={"version": "2"}).app, **uvicorn_options(8)) as url,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(logging.getLogger().removeHandler, logged)
        address = httpx.URL(url)
        clients = [stack.enter_context(connected(address)) for _ in range(24)]
        assert httpx.get(f"{url}/surgvl/about", timeout=10).json() == {"version": "2"}
        # The oldest went, the newest stays.
        with contextlib.suppress(ConnectionError):
            assert clients[0].recv(1) == b""
        clients[-1].sendall(head(100))
        assert clients[-1].recv(12) == b"HTTP/1.1 200"
    assert not [each for each in logged.buffer if each.exc_info or "Traceback" in each.getMessage()]


def test_connections_stay_below_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft in (128, 256, 1024, 20_000):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, soft=soft: (soft, soft))
        most, backlog = connection_limit(10_000)
        assert most >= 1
        assert 3 * most + backlog <= soft
        assert connection_limit(5)[0] == 5
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert connection_limit(10_000)[0] == 10_000


def test_a_log_is_for_this_user_alone(tmp_path: Path) -> None:
    from surgvl.serve.engine_process import EngineProcess
    from surgvl.serve.supervisor import Supervisor

    supervisor = Supervisor()
    engine = EngineProcess("chat", tmp_path, "m", tmp_path / "s", tmp_path / "chat.log")
    engine.extra_args = ["--help"]
    engine.start(supervisor)
    try:
        assert (tmp_path / "chat.log").stat().st_mode & 0o777 == 0o600
    finally:
        supervisor.ask_no_more()
        engine.stop()
        supervisor.wait()
