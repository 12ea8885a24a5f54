"""Request bodies: read within size and time limits, then parsed within bounds.

A body is collected on disk. When it is complete, it leases memory until the engine has received all of it; later bodies
wait in order. So memory stays bounded however many clients upload at a time, and a slow upload does not delay others.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from starlette.types import Receive, Send

from surgvl.serve.budget import RETRY_S, Lease
from surgvl.serve.http_errors import RequestError
from surgvl.serve.media_check import MediaRules, check_media
from surgvl.serve.request_limits import RequestLimits

MIN_UPLOAD_RATE = 1 << 14
"""Bytes per second that a client must send."""
UPLOAD_SLACK_S = 15.0
"""How far a client may fall behind that rate."""
MAX_UPLOAD_S = 600.0
"""Longest upload of a body."""
MEMORY_BYTES = 1 << 16
"""A body up to this size is not written to disk."""
DRAIN_S = 10.0
MAX_VALUES = 200_000
"""Commas and brackets of a JSON text: a list of 20 million empty lists takes 60 MB as text and 1 GB in memory."""
CHUNK_BYTES = 1 << 18


class ClientDisconnected(Exception):
    """The client closed the connection."""


def check_headers(headers: Mapping[str, str], max_bytes: int) -> None:
    """Reject a body before it is read.

    Raises:
        RequestError: it is not declared as JSON, or declared larger than the limit.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "the body is not declared as JSON: send it with Content-Type: application/json")
    length = headers.get("content-length")
    # A chunked body may have any length, whatever Content-Length says.
    if length is None or "transfer-encoding" in headers:
        return
    if not length.isascii() or not length.isdigit():
        raise RequestError(400, "Content-Length is not a number: let the HTTP client set it")
    if int(length) > max_bytes:
        raise _too_large(max_bytes)


class RequestBody:
    """The body that a client is sending.

    Args:
        receive: ASGI's callable.

    Attributes:
        complete: the whole body has arrived, or the client disconnected.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.complete = True
            raise ClientDisconnected
        self.complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    async def read(self, max_bytes: int, file: IO[bytes], disk: Lease) -> int:
        """Read the body into a file.

        Args:
            max_bytes: largest accepted size.
            file: where it is written.
            disk: grows by what is read.

        Returns:
            Its size in bytes.

        Raises:
            RequestError: it is too large, arrives too slowly, or does not fit on the disk.
            ClientDisconnected: the client disconnected.
        """
        size, clock = 0, asyncio.get_running_loop().time
        deadline_s = clock() + UPLOAD_SLACK_S
        try:
            async with asyncio.timeout(MAX_UPLOAD_S):
                while not self.complete:
                    async with asyncio.timeout_at(deadline_s):
                        part = await self._part()
                    # Each part extends the deadline, up to the slack.
                    deadline_s = min(deadline_s + len(part) / MIN_UPLOAD_RATE, clock() + UPLOAD_SLACK_S)
                    size += len(part)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    disk.grow(len(part))
                    file.write(part)
        except TimeoutError:
            raise RequestError(
                408,
                f"the body arrived more slowly than {MIN_UPLOAD_RATE // 1024} KiB/s, or took over {MAX_UPLOAD_S:g} s: "
                "retry over a faster connection, or send less",
            ) from None
        except OSError as error:
            raise RequestError(
                503, f"the server cannot store the body ({error.strerror}): retry later", RETRY_S
            ) from error
        return size

    async def drain(self) -> None:
        """Read on briefly without keeping anything, so that clients that write everything first see the response."""
        with contextlib.suppress(TimeoutError, ClientDisconnected):
            async with asyncio.timeout(DRAIN_S):
                while not self.complete:
                    await self._part()

    async def reject(self, error: RequestError, send: Send) -> None:
        """Respond at once, then drain what is still being sent before the connection closes."""
        answer = error.response()
        if not self.complete:
            answer.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await self.drain()
        await send({"type": "http.response.body", "body": b""})

    async def disconnected(self) -> None:
        """Wait until the client disconnects."""
        with contextlib.suppress(ClientDisconnected):
            while True:
                await self._part()


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body is larger than {max_bytes / 1e6:g} MB (--max_upload_mb): send less")


@dataclass(frozen=True)
class CheckedRequest:
    """A request that passed all checks.

    Attributes:
        content: its JSON, serialised again, so that the engine reads exactly what was checked.
        pixels: of the pictures that the engine will decode.
        file_urls: `file:` addresses as the client sent them.
    """

    content: bytes
    pixels: int
    file_urls: list[str]


def check_request(body: bytes, rules: MediaRules, limits: RequestLimits) -> CheckedRequest:
    """Parse a body, and check its media and its limits.

    Raises:
        RequestError: it is not a JSON object within the bounds, exceeds a limit, or has media that is not accepted.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise RequestError(400, f"the request has more than {MAX_VALUES} values: split it")
    try:
        request: Any = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise RequestError(400, "the request is nested too deep: flatten it") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON ({str(error)[:100]}): check it") from None
    if not isinstance(request, dict):
        raise RequestError(400, "the body is not a JSON object: send {...}")
    pixels, file_urls = check_media(request, rules)
    try:
        limits.check(request)
        content = json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except RecursionError:
        raise RequestError(400, "the request is nested too deep: flatten it") from None
    except ValueError:
        raise RequestError(400, "the request holds a lone surrogate or an infinite number: check its texts") from None
    return CheckedRequest(content, pixels, file_urls)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
