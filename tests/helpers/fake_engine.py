"""A stand-in for vLLM's server, for tests of what is around it: the same paths, and answers that the test asks for.

The text of the last message says what happens: `slow` (for ever, until the client goes), `stream`, `wait` (a stream
that goes on when the test says so), `fail`, `path` (an error that names a path), or else the request comes back.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class FakeEngine:
    """What it was asked, and which of it was left by the client."""

    def __init__(self, model: str = "surgvl-chat") -> None:
        self.model = model
        self.asked: list[dict[str, Any]] = []
        self.left: list[str] = []
        self.go_on = threading.Event()
        self.app = Starlette(
            routes=[
                Route("/health", lambda request: Response()),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._answer, methods=["POST"]),
                Route("/v1/embeddings", self._answer, methods=["POST"]),
            ]
        )

    def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": self.model, "root": "/secret/folder"}]})

    async def _answer(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        message = asked["messages"][-1] if asked.get("messages") else {}
        text = message.get("content") if isinstance(message, dict) else None
        if text == "slow":
            while not await request.is_disconnected():
                await asyncio.sleep(0.01)
            self.left.append("slow")
        if text in ("stream", "wait"):
            return StreamingResponse(self._events(text), media_type="text/event-stream")
        if text == "fail":
            return JSONResponse({"error": {"message": "in /etc/shadow", "type": "x", "code": 500}}, 500)
        if text == "path" or "path" in asked:
            line = f"cannot read /etc/passwd, /v1/models and {asked.get('path')}"
            return JSONResponse({"error": {"message": line, "type": "BadRequestError", "code": 400}}, 400)
        return JSONResponse({"echo": asked, "model": self.model})

    async def _events(self, text: str) -> AsyncIterator[str]:
        yield "data: first\n\n"
        try:
            while text == "wait" and not self.go_on.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.left.append("wait")
            raise
        yield "data: second\n\n"
        yield "data: [DONE]\n\n"


@contextlib.contextmanager
def served(app: Any, place: Path | None = None, **settings: Any) -> Iterator[str]:
    """Serve an ASGI application in a thread, on a Unix socket or on any port, with settings of uvicorn; its address."""
    where: dict[str, Any] = {"uds": str(place)} if place else {"host": "127.0.0.1", "port": 0}
    config = uvicorn.Config(app, **{"log_config": None, "timeout_graceful_shutdown": 1, **where, **settings})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.002)  # or this thread would take half of the time from that one
        port = 0 if place else server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def event(line: str) -> Any:
    """What a line of a stream holds."""
    return json.loads(line.removeprefix("data: "))
