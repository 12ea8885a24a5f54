"""The gate: the one address that users see. It checks key, size and media of a request and sends it on to an engine.

It stays up when an engine dies, and speaks OpenAI's protocol as far as the engines do:

    GET  /health               ok, or 503 while an engine starts, restarts or has failed; needs no key
    GET  /surgvl/about         version, and of each engine's model its preprocessing, answers and hash
    GET  /v1/models            names of the models
    POST /v1/chat/completions  to the chat engine; streams are passed through
    POST /v1/embeddings        to the embedding engine
"""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from surgvl.serve.access import Door
from surgvl.serve.engine import Engine, Role
from surgvl.serve.hosts import Hosts
from surgvl.serve.http_errors import Refused, hide_paths
from surgvl.serve.media import MAX_PIXELS, Rules
from surgvl.serve.request_body import CHUNK, SMALL, Examined, Gone, Incoming, Room, Share, check_length, examine
from surgvl.serve.request_limits import Limits

PATHS: Mapping[str, Role] = {"/v1/chat/completions": "chat", "/v1/embeddings": "embed"}
# Requests whose media are looked at, at a time.
NUM_CHECKERS = 4


class Gate:
    """The ASGI application before the engines.

    Args:
        engines: by role; whoever starts them keeps their `state` true.
        rules: which media are taken.
        max_upload_mb: largest body, 10^6 bytes.
        api_key: clients must send it as `Authorization: Bearer KEY`; empty: nobody must.
        about: answer of /surgvl/about; may be filled in later.
        limits: how much one request may ask for.
        listens: address that is listened on.
        allowed_hosts: further names under which it is reached.
    """

    def __init__(
        self,
        engines: Mapping[Role, Engine],
        rules: Rules,
        max_upload_mb: float = 64.0,
        api_key: str = "",
        about: Mapping[str, Any] | None = None,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        listens: str = "127.0.0.1",
        allowed_hosts: Collection[str] = (),
    ) -> None:
        self.engines, self.rules, self.about = engines, rules, about if about is not None else {}
        self.limits = limits
        self.max_bytes = int(max_upload_mb * 1e6)
        self.clients = {
            role: httpx.AsyncClient(transport=engine.transport(), timeout=httpx.Timeout(None, connect=5.0))
            for role, engine in engines.items()
        }
        # Bytes of whole bodies here, of all on the disk, and pixels in the engines, at a time.
        self.bytes, self.pixels = Room(max(2 * self.max_bytes, 1 << 26)), Room(4 * MAX_PIXELS)
        self.disk = Room(max(32 * self.max_bytes, 1 << 30))
        self.checkers = anyio.CapacityLimiter(NUM_CHECKERS)
        inner = Door(
            Starlette(
                routes=[
                    Route("/health", self._health),
                    Route("/surgvl/about", self._about),
                    Route("/v1/models", self._models),
                    *(Route(path, _Relay(self, path, role), methods=["POST"]) for path, role in PATHS.items()),
                ],
                exception_handlers={HTTPException: _plain, Exception: _broken},
                lifespan=self._life,
            ),
            api_key.encode(),
        )
        self.app: ASGIApp = Hosts(inner, listens, allowed_hosts)

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        """At the end, close the connections to the engines."""
        async with contextlib.AsyncExitStack() as stack:
            for client in self.clients.values():
                await stack.enter_async_context(client)
            yield

    async def _health(self, request: Request) -> Response:
        states = {role: engine.state for role, engine in self.engines.items()}
        ready = all(state == "ready" for state in states.values())
        word = "ok" if ready else next(state for state in states.values() if state != "ready")
        return JSONResponse({"status": word, "engines": states}, 200 if ready else 503)

    async def _about(self, request: Request) -> Response:
        return JSONResponse(self.about)

    async def _models(self, request: Request) -> Response:
        found: list[dict[str, Any]] = []
        for role, engine in self.engines.items():
            if engine.state == "ready":
                with contextlib.suppress(httpx.TransportError, ValueError, KeyError):
                    answer = await self.clients[role].get(f"{engine.url}/v1/models")
                    # "root" is a folder of this machine.
                    found += [{**each, "root": each["id"]} for each in answer.json()["data"]]
        if not found:
            return _not_ready(next(iter(self.engines.values()))).response()
        return JSONResponse({"object": "list", "data": found})


class _Relay:
    """One path of one engine, as an ASGI application."""

    def __init__(self, gate: Gate, path: str, role: Role) -> None:
        self.gate, self.path, self.role = gate, path, role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(receive)
        with contextlib.suppress(Gone):
            try:
                await self._relay(Headers(scope=scope), incoming, send)
            except Refused as refused:
                await incoming.refuse(refused, send)

    async def _relay(self, headers: Headers, incoming: Incoming, send: Send) -> None:
        gate = self.gate
        engine = gate.engines.get(self.role)
        if engine is None:
            there = ", ".join(each.model for each in gate.engines.values())
            raise Refused(
                404, f"this server answers no {self.path}; it serves {there}: ask one that was started for it"
            )
        if engine.state != "ready":
            raise _not_ready(engine)
        check_length(headers, gate.max_bytes)
        async with contextlib.AsyncExitStack() as stack:
            disk = stack.enter_context(gate.disk.share())
            with tempfile.SpooledTemporaryFile(SMALL) as file:
                size = await incoming.read(gate.max_bytes, file, disk)
                share = await stack.enter_async_context(gate.bytes.hold(size))
                file.seek(0)
                body = file.read()
            disk.give_back()
            rules = replace(gate.rules, num_frames=engine.num_frames)
            examined = await anyio.to_thread.run_sync(examine, body, rules, gate.limits, limiter=gate.checkers)
            del body
            await stack.enter_async_context(gate.pixels.hold(examined.pixels))
            await _unless_gone(incoming, self._ask(engine, examined, share, send))

    async def _ask(self, engine: Engine, examined: Examined, share: Share, send: Send) -> None:
        """Send a request on, and its answer back."""
        client = self.gate.clients[self.role]
        words = {
            "content-type": "application/json",
            "content-length": str(len(examined.content)),
            "accept-encoding": "identity",
        }
        sent = examined.sent
        request = client.build_request("POST", engine.url + self.path, headers=words, content=_feed(examined, share))
        del examined
        begun = False
        try:
            response = await client.send(request, stream=True)
            try:
                kind = response.headers.get("content-type", "application/json")
                if response.status_code >= 400:
                    raise self._said(engine, response.status_code, await response.aread(), sent)
                if not kind.startswith("text/event-stream"):
                    answer = Response(await response.aread(), response.status_code, media_type=kind)
                    await _whole(answer, send)
                    return
                await send(
                    {
                        "type": "http.response.start",
                        "status": response.status_code,
                        "headers": [(b"content-type", kind.encode()), (b"cache-control", b"no-cache")],
                    }
                )
                begun = True
                async for part in response.aiter_raw():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await response.aclose()
        except httpx.ConnectError:
            raise Refused(503, f"the {self.role} engine has just ended: send it again", engine.retry_s) from None
        except httpx.TransportError:
            died = self._died(engine)
            if not begun:
                raise died from None
            # The status is sent: OpenAI's clients take an event with an error for one.
            event = f"data: {json.dumps(died.body())}\n\n".encode()
            await send({"type": "http.response.body", "body": event})

    def _died(self, engine: Engine) -> Refused:
        return Refused(502, f"the {self.role} engine ended while it answered: send it again", engine.retry_s)

    def _said(self, engine: Engine, status: int, body: bytes, sent: list[str]) -> Refused:
        """An engine's error as ours."""
        # What vLLM's server still says when the process behind it is gone.
        if status >= 500 and b"EngineCore" in body:
            return self._died(engine)
        if status >= 500 and status != 503:
            return Refused(
                502, f"the {self.role} engine could not work on this request: its log on the server says why"
            )
        try:
            error = json.loads(body)["error"]
            message = " ".join(hide_paths(str(error["message"]), sent).split())[:300]
            return Refused(status, message, kind=str(error["type"]))
        except (ValueError, KeyError, TypeError):
            return Refused(status, f"the {self.role} engine refuses this request with status {status}: check it")


async def _unless_gone(incoming: Incoming, work: Any) -> None:
    """Do something as long as the client is there; leaving it closes the engine's connection, which ends its work."""
    tasks = asyncio.create_task(work), asyncio.create_task(incoming.gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not tasks[0].cancelled():
        tasks[0].result()


async def _feed(examined: Examined, share: Share) -> AsyncIterator[bytes]:
    """The body in parts; once the engine has it, its room is free."""
    content = memoryview(examined.content)
    for at in range(0, len(content), CHUNK):
        yield bytes(content[at : at + CHUNK])
    share.give_back()


async def _whole(answer: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


def _not_ready(engine: Engine) -> Refused:
    if engine.state in ("starting", "restarting"):
        return Refused(503, f"the {engine.role} engine is {engine.state}: send it again later", engine.retry_s)
    return Refused(503, f"the {engine.role} engine has {engine.state}: the server must be started again")


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        there = ", ".join(("/health", "/surgvl/about", "/v1/models", *PATHS))
        return Refused(404, f"there is no {request.url.path[:80]} here, but {there}").response()
    return Refused(error.status_code, f"{error.detail}: look at the server's README").response()


async def _broken(request: Request, error: Exception) -> Response:
    return Refused(500, "the server failed at this request: its output says why").response()
