"""The gateway: the one address that clients use. It checks a request's key, size and media, then forwards it.

It keeps running when an engine dies, and speaks as much of OpenAI's protocol as the engines do:

    GET  /health               "ok", or 503 while an engine is starting, restarting or failed; needs no key
    GET  /surgvl/about         version and, for each model, its preprocessing, known answers and hash
    GET  /v1/models            names of the models
    POST /v1/chat/completions  forwarded to the chat engine; streams are passed through
    POST /v1/embeddings        forwarded to the embedding engine
    POST /surgvl/recognise     phases and the like of a video, by a trained readout (`surgvl.serve.recognise`)
"""

import contextlib
import json
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Send

from surgvl.serve.access import AccessControl
from surgvl.serve.budget import Budget, Lease
from surgvl.serve.engine_process import EngineProcess, Role
from surgvl.serve.http_errors import RequestError, hide_paths
from surgvl.serve.media_check import MAX_PIXELS, MediaRules
from surgvl.serve.posted import Posted, send_whole, until_disconnect
from surgvl.serve.recognise import NAME, Recognise
from surgvl.serve.recognise import PATH as RECOGNISE
from surgvl.serve.request_body import CHUNK_BYTES, CheckedRequest, RequestBody
from surgvl.serve.request_limits import RequestLimits
from surgvl.serve.trusted_hosts import TrustedHosts

PATHS: Mapping[str, Role] = {"/v1/chat/completions": "chat", "/v1/embeddings": "embed"}
# Requests whose media are checked concurrently.
NUM_CHECKERS = 4


class Gateway:
    """The ASGI application in front of the engines.

    Args:
        engines: by role; the caller keeps their `state` up to date.
        rules: which media are accepted.
        max_upload_mb: largest request body, 10^6 bytes.
        api_key: clients must send it as `Authorization: Bearer KEY`; empty: no key is needed.
        about: response of /surgvl/about; may be filled in later.
        limits: how much one request may ask for.
        host: address that the server listens on.
        allowed_hosts: further names under which clients reach it.
        readout: answers /surgvl/recognise.
    """

    def __init__(
        self,
        engines: Mapping[Role, EngineProcess],
        rules: MediaRules,
        max_upload_mb: float = 64.0,
        api_key: str = "",
        about: Mapping[str, Any] | None = None,
        limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
        host: str = "127.0.0.1",
        allowed_hosts: Collection[str] = (),
        readout: Recognise | None = None,
    ) -> None:
        self.readout = readout
        self.engines, self.rules, self.about = engines, rules, about if about is not None else {}
        self.limits = limits
        self.max_bytes = int(max_upload_mb * 1e6)
        self.clients = {
            role: httpx.AsyncClient(transport=engine.transport(), timeout=httpx.Timeout(None, connect=5.0))
            for role, engine in engines.items()
        }
        # Over all requests: bytes of complete bodies in memory, bytes of bodies on disk, pixels in the engines.
        self.memory = Budget(max(2 * self.max_bytes, 1 << 26))
        self.disk = Budget(max(32 * self.max_bytes, 1 << 30))
        self.pixels = Budget(4 * MAX_PIXELS)
        self.checkers = anyio.CapacityLimiter(NUM_CHECKERS)
        inner = AccessControl(
            Starlette(
                routes=[
                    Route("/health", self._health),
                    Route("/surgvl/about", self._about),
                    Route("/v1/models", self._models),
                    Route(RECOGNISE, _Recognise(self), methods=["POST"]),
                    *(Route(path, _Forward(self, path, role), methods=["POST"]) for path, role in PATHS.items()),
                ],
                exception_handlers={HTTPException: _http_exception, Exception: _server_error},
                lifespan=self._lifespan,
            ),
            api_key.encode(),
        )
        self.app: ASGIApp = TrustedHosts(inner, host, allowed_hosts)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Close the connections to the engines on shutdown."""
        async with contextlib.AsyncExitStack() as stack:
            for client in self.clients.values():
                await stack.enter_async_context(client)
            yield

    async def _health(self, request: Request) -> Response:
        states = {role: engine.state for role, engine in self.engines.items()}
        status = next((state for state in states.values() if state != "ready"), "ok")
        return JSONResponse({"status": status, "engines": states}, 200 if status == "ok" else 503)

    async def _about(self, request: Request) -> Response:
        return JSONResponse(self.about)

    async def _models(self, request: Request) -> Response:
        found: list[dict[str, Any]] = []
        for role, engine in self.engines.items():
            if engine.state == "ready":
                with contextlib.suppress(httpx.TransportError, ValueError, KeyError):
                    answer = await self.clients[role].get(f"{engine.url}/v1/models")
                    # "root" is a path on this machine.
                    found += [{**each, "root": each["id"]} for each in answer.json()["data"]]
        if self.readout is not None:
            found.append({"id": NAME, "object": "model", "owned_by": "surgvl"})
        if not found:
            return _not_ready(next(iter(self.engines.values()))).response()
        return JSONResponse({"object": "list", "data": found})


class _Forward(Posted):
    """One path of one engine."""

    def __init__(self, gateway: Gateway, path: str, role: Role) -> None:
        super().__init__(gateway)
        self.path, self.role = path, role

    async def respond(self, headers: Headers, body: RequestBody, send: Send) -> None:
        """Forward a request."""
        gateway = self.gateway
        engine = gateway.engines.get(self.role)
        if engine is None:
            names = [*(each.model for each in gateway.engines.values()), *([NAME] if gateway.readout else [])]
            fact = f"{self.path} is not served here, only {', '.join(names)}"
            raise RequestError(404, f"{fact}: start `surgvl serve {self.role}` for it")
        if engine.state != "ready":
            raise _not_ready(engine)
        async with self.accept(headers, body, engine.num_frames) as (checked, memory):
            # Cancelling it closes the engine's connection, which aborts the work there.
            await until_disconnect(body, self._ask(engine, checked, memory, send))

    async def _ask(self, engine: EngineProcess, checked: CheckedRequest, memory: Lease, send: Send) -> None:
        """Send a request to the engine, and its response to the client."""
        client = self.gateway.clients[self.role]
        headers = {
            "content-type": "application/json",
            "content-length": str(len(checked.content)),
            "accept-encoding": "identity",
        }
        file_urls = checked.file_urls
        url = engine.url + self.path
        request = client.build_request("POST", url, headers=headers, content=_chunks(checked, memory))
        del checked
        started = False
        try:
            response = await client.send(request, stream=True)
            try:
                media_type = response.headers.get("content-type", "application/json")
                if response.status_code >= 400:
                    raise self._engine_error(engine, response.status_code, await response.aread(), file_urls)
                if not media_type.startswith("text/event-stream"):
                    answer = Response(await response.aread(), response.status_code, media_type=media_type)
                    await send_whole(answer, send)
                    return
                await send(
                    {
                        "type": "http.response.start",
                        "status": response.status_code,
                        "headers": [(b"content-type", media_type.encode()), (b"cache-control", b"no-cache")],
                    }
                )
                started = True
                async for part in response.aiter_raw():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await response.aclose()
        except httpx.ConnectError:
            raise RequestError(503, f"the {self.role} engine has just ended: retry later", engine.retry_s) from None
        except httpx.TransportError:
            died = self._died(engine)
            if not started:
                raise died from None
            # The status line is already sent; OpenAI's clients read an event with an error as one.
            event = f"data: {json.dumps(died.body())}\n\n".encode()
            await send({"type": "http.response.body", "body": event})

    def _died(self, engine: EngineProcess) -> RequestError:
        return RequestError(502, f"the {self.role} engine died during this request: retry it", engine.retry_s)

    def _engine_error(self, engine: EngineProcess, status: int, body: bytes, file_urls: list[str]) -> RequestError:
        """An engine's error response as one of ours."""
        # Errors of vLLM's web server after its engine process has ended.
        if status >= 500 and b"EngineCore" in body:
            return self._died(engine)
        if status >= 500 and status != 503:
            return RequestError(502, f"the {self.role} engine failed on this request: see its log on the server")
        try:
            error = json.loads(body)["error"]
            message = " ".join(hide_paths(str(error["message"]), file_urls).split())[:300]
            return RequestError(status, message, kind=str(error["type"]))
        except (ValueError, KeyError, TypeError):
            return RequestError(status, f"the {self.role} engine rejected this request with status {status}: check it")


class _Recognise(Posted):
    """The path of the readout."""

    async def respond(self, headers: Headers, body: RequestBody, send: Send) -> None:
        """Let the readout answer."""
        if (readout := self.gateway.readout) is None:
            raise RequestError(404, f"{RECOGNISE} is not served here: start `surgvl serve readout` for it")

        async def answer(content: bytes) -> None:
            await send_whole(await readout.answer(content), send)

        async with self.accept(headers, body, readout.num_frames) as (checked, _):
            await until_disconnect(body, answer(checked.content))


async def _chunks(checked: CheckedRequest, memory: Lease) -> AsyncIterator[bytes]:
    """The body in chunks; its memory is released once the engine has all of it."""
    content = memoryview(checked.content)
    for at in range(0, len(content), CHUNK_BYTES):
        yield bytes(content[at : at + CHUNK_BYTES])
    memory.release()


def _not_ready(engine: EngineProcess) -> RequestError:
    if engine.state in ("starting", "restarting"):
        return RequestError(503, f"the {engine.role} engine is {engine.state}: retry later", engine.retry_s)
    return RequestError(503, f"the {engine.role} engine has {engine.state}: restart the server")


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        known = ", ".join(("/health", "/surgvl/about", "/v1/models", *PATHS, RECOGNISE))
        return RequestError(404, f"{request.url.path[:80]} is not served; the paths are {known}").response()
    return RequestError(error.status_code, f"{error.detail}: see the documentation of `surgvl serve`").response()


async def _server_error(request: Request, error: Exception) -> Response:
    return RequestError(500, "the server failed on this request: see its output").response()
