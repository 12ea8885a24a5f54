"""Names under which a server answers: a page of a foreign site that points its name at this machine gets nothing."""

import asyncio
import socket
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.gateway import Gateway  # noqa: E402
from surgvl.serve.media_check import MediaRules  # noqa: E402
from surgvl.serve.trusted_hosts import TrustedHosts  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.gateway_stand import refusal  # noqa: E402


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


NEAR = ["127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:1", "localhost.", "[::1]:8000", "127.0.0.53"]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", ":8000"]
STRANGE = [
    "a@localhost",
    "localhost/a",
    "localhost:x",
    "evil.example#@localhost",
    "[::1",
    "127.0.0.1, localhost",
    "127.1",
]


@pytest.mark.parametrize(
    ("host", "extra", "allowed", "refused"),
    [
        ("127.0.0.1", [], NEAR, [*FOREIGN, *STRANGE, "10.0.0.1", "*"]),
        ("localhost", [], NEAR, [*FOREIGN, *STRANGE]),
        ("0.0.0.0", [], [*NEAR, "10.0.0.1:8000", "[fe80::1]", socket.gethostname()], [*FOREIGN, *STRANGE]),
        ("10.0.0.1", [], [*NEAR, "10.0.0.1"], [*FOREIGN, *STRANGE]),
        ("127.0.0.1", ["Box.Example", "b"], [*NEAR, "box.example:1", "B"], [*FOREIGN, *STRANGE, "a.box.example"]),
        ("127.0.0.1", ["*"], [*NEAR, *FOREIGN], []),
    ],
)
def test_hosts(host: str, extra: list[str], allowed: list[str], refused: list[str]) -> None:
    hosts = TrustedHosts(nothing, host, extra)
    assert [each for each in allowed if not hosts.allows(each)] == []
    assert [each for each in refused if hosts.allows(each)] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/health", "/surgvl/about", "/v1/models", "/nowhere"])
def test_the_gateway_answers_to_its_own_names_alone(path: str) -> None:
    with served(Gateway({}, MediaRules(), about={"version": "2"}).app) as url:
        answer = httpx.get(url + path, headers={"Host": "evil.example"})
        assert "--allowed_hosts" in refusal(answer, 400)
        assert "evil.example" in answer.text
        port = url.rpartition(":")[2]
        own = httpx.get(url + path, headers={"Host": f"localhost:{port}"})
        assert "--allowed_hosts" not in own.text
    with served(Gateway({}, MediaRules(), about={"version": "2"}, allowed_hosts=["evil.example"]).app) as url:
        assert httpx.get(f"{url}/surgvl/about", headers={"Host": "evil.example"}).json() == {"version": "2"}


def test_web_sockets_are_held_to_it() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "headers": [(b"host", b"evil.example")]}
    asyncio.run(TrustedHosts(nothing)(scope, None, send))  # type: ignore[arg-type]
    assert [each["type"] for each in sent] == ["websocket.close"]
