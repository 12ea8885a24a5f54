"""A posted request: read within the limits, checked, and answered while its client is connected."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from surgvl.serve.budget import Lease
from surgvl.serve.http_errors import RequestError
from surgvl.serve.request_body import (
    MEMORY_BYTES,
    CheckedRequest,
    ClientDisconnected,
    RequestBody,
    check_headers,
    check_request,
)

# Imported for types only, because the gateway has such paths.
if TYPE_CHECKING:
    from surgvl.serve.gateway import Gateway


class Posted:
    """A path that requests are posted to, as an ASGI application.

    Args:
        gateway: with its rules, limits and budgets.
    """

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        body = RequestBody(receive)
        with contextlib.suppress(ClientDisconnected):
            try:
                await self.respond(Headers(scope=scope), body, send)
            except RequestError as error:
                await body.reject(error, send)

    async def respond(self, headers: Headers, body: RequestBody, send: Send) -> None:
        """Read the body by `accept`, and send the response.

        Raises:
            RequestError: it is rejected.
        """
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def accept(
        self, headers: Headers, body: RequestBody, num_frames: int
    ) -> AsyncIterator[tuple[CheckedRequest, Lease]]:
        """A request that passed all checks, and its share of the memory, which may be released early.

        Args:
            headers: of the request.
            body: not read yet.
            num_frames: frames that are decoded of a video file at a time.

        Raises:
            RequestError: it is rejected.
        """
        gateway = self.gateway
        check_headers(headers, gateway.max_bytes)
        async with contextlib.AsyncExitStack() as stack:
            disk = stack.enter_context(gateway.disk.open())
            with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as file:
                size = await body.read(gateway.max_bytes, file, disk)
                memory = await stack.enter_async_context(gateway.memory.acquire(size))
                file.seek(0)
                content = file.read()
            disk.release()
            rules = replace(gateway.rules, num_frames=num_frames)
            checked = await anyio.to_thread.run_sync(
                check_request, content, rules, gateway.limits, limiter=gateway.checkers
            )
            del content
            await stack.enter_async_context(gateway.pixels.acquire(checked.pixels))
            yield checked, memory


async def until_disconnect(body: RequestBody, work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine while the client is connected, and cancel it then."""
    tasks = asyncio.create_task(work), asyncio.create_task(body.disconnected())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not tasks[0].cancelled():
        tasks[0].result()


async def send_whole(answer: Response, send: Send) -> None:
    """Send a response that is complete."""
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})
