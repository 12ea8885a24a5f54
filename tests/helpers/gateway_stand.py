"""The gateway before two stand-ins for engines, and a client, for tests."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from surgvl.serve.engine_process import EngineProcess
from surgvl.serve.gateway import Gateway
from surgvl.serve.media_check import MediaRules
from tests.helpers.fake_engine import FakeEngine, served

CHAT = "/v1/chat/completions"
LIMIT_MB = 3.0


class Stand:
    """A gateway before two stand-ins, and a client."""

    def __init__(self, place: Path) -> None:
        self.chat, self.embed = FakeEngine(), FakeEngine("surgvl-embed")
        self.engines = {
            "chat": EngineProcess("chat", place, "surgvl-chat", place / "chat.sock", place / "chat.log"),
            "embed": EngineProcess("embed", place, "surgvl-embed", place / "embed.sock", place / "embed.log"),
        }
        self.gateway = Gateway(self.engines, MediaRules(), LIMIT_MB, "key", {"version": "1"})  # type: ignore[arg-type]
        self.client: Any = None
        self.place = place

    def ask(self, text: str, **more: Any) -> Any:
        """Answer of the chat engine to a text."""
        return self.client.post(CHAT, json={"messages": [{"role": "user", "content": text}], **more})

    @contextlib.contextmanager
    def running(self, **settings: Any) -> Iterator[Self]:
        """Serve all three, the gateway with settings of uvicorn."""
        with (
            served(self.chat.app, self.place / "chat.sock"),
            served(self.embed.app, self.place / "embed.sock"),
            served(self.gateway.app, **settings) as url,
            httpx.Client(base_url=url, headers={"Authorization": "Bearer key"}, timeout=20) as client,
        ):
            self.client = client
            yield self

    def fresh(self) -> Self:
        """As it was at the beginning."""
        for engine in self.engines.values():
            engine.state = "ready"
        for fake in (self.chat, self.embed):
            fake.asked.clear()
            fake.left.clear()
            fake.go_on.clear()
        return self


def refusal(answer: Any, status: int) -> str:
    """The sentence of an answer that must be OpenAI's form of an error."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code"}
    assert error["code"] == status
    assert "\n" not in error["message"]
    assert 10 < len(error["message"]) < 300
    return str(error["message"])


def until(condition: Any, limit_s: float = 120.0, every_s: float = 0.01) -> bool:
    """Whether something comes true in time, asked so often."""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(every_s)
    return bool(condition())
