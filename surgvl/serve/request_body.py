"""Bodies of requests: read within a limit and in time, held within a budget, parsed within bounds.

A body is collected on disk. Only once it is whole it takes a place in memory, which it keeps until the engine has all
of it; who finds no place waits, in order. So memory stays bounded however many upload at a time, and who uploads slowly
holds nobody up.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from starlette.types import Receive, Send

from surgvl.serve.http_errors import Refused
from surgvl.serve.media import Rules, check
from surgvl.serve.request_limits import Limits

LEAST_RATE = 1 << 14
"""Bytes per second that a client must send."""
SLACK_S = 15.0
"""It may fall behind by so much, and no more."""
UPLOAD_S = 600.0
"""A whole body must be there after so long."""
SMALL = 1 << 16
"""A body up to this size does not go to the disk."""
WAIT_S = 120.0
"""Longest wait for room."""
DRAIN_S = 10.0
MAX_VALUES = 200_000
"""Commas and brackets of a JSON text: a list of 20 million empty lists has 60 MB as text and 1 GB in memory."""
CHUNK = 1 << 18


class Gone(Exception):
    """The client went away."""


class Room:
    """A budget, handed out in the order of asking.

    Args:
        size: what may be out at a time, such as bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator["Share"]:
        """Wait for an amount and hold it inside the block, or until the share is given back.

        Raises:
            Refused: there was no room for too long; 503.
        """
        share = Share(self, min(amount, self.size))
        await self._take(share.amount)
        try:
            yield share
        finally:
            share.give_back()

    @contextlib.contextmanager
    def share(self) -> Iterator["Share"]:
        """A share of nothing, that may grow inside the block."""
        share = Share(self, 0)
        try:
            yield share
        finally:
            share.give_back()

    async def _take(self, amount: int) -> None:
        if amount == 0 or (not self._waiting and amount <= self.free):
            self.free -= amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except BaseException as error:
            # Given up: what was handed out meanwhile goes back, and the next in line may fit now.
            had_it = turn.done() and not turn.cancelled()
            with contextlib.suppress(ValueError):
                self._waiting.remove((amount, turn))
            self.give(amount if had_it else 0)
            if isinstance(error, TimeoutError):
                raise Refused(503, "too many requests at a time: send it again later", retry_s=10) from None
            raise

    def give(self, amount: int) -> None:
        """Give back, and let those in who fit now."""
        self.free += amount
        while self._waiting and self._waiting[0][0] <= self.free:
            taken, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.free -= taken
                turn.set_result(None)


class Share:
    """A part of a room's budget."""

    def __init__(self, room: Room, amount: int) -> None:
        self.room, self.amount = room, amount

    def grow(self, amount: int) -> None:
        """Take more at once.

        Raises:
            Refused: there is no room; 503.
        """
        if amount > self.room.free:
            raise Refused(503, "too many uploads at a time: send it again later", retry_s=10)
        self.room.free -= amount
        self.amount += amount

    def give_back(self) -> None:
        """Give it back; a second time does nothing."""
        amount, self.amount = self.amount, 0
        self.room.give(amount)


def check_length(headers: Mapping[str, str], max_bytes: int) -> None:
    """Refuse a body before it is read.

    Raises:
        Refused: it is not JSON, or says that it is larger than the limit.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the body is not declared as JSON: send it with Content-Type: application/json")
    said = headers.get("content-length")
    # A body in chunks may be of any length, whatever else is said.
    if said is None or "transfer-encoding" in headers:
        return
    if not said.isascii() or not said.isdigit():
        raise Refused(400, "Content-Length is not a number: leave it to your client")
    if int(said) > max_bytes:
        raise _too_large(max_bytes)


class Incoming:
    """What a client sends.

    Args:
        receive: of ASGI.

    Attributes:
        whole: all of the body has come, or the client went away.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.whole = False

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.whole = True
            raise Gone
        self.whole = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    async def read(self, max_bytes: int, file: IO[bytes], disk: Share) -> int:
        """Read the body into a file.

        Args:
            max_bytes: the most that is taken.
            file: where it goes.
            disk: grows by what is read.

        Returns:
            Its size in bytes.

        Raises:
            Refused: it is larger than the limit, comes too slowly, or finds no room on the disk.
            Gone: the client went away.
        """
        size, clock = 0, asyncio.get_running_loop().time
        late_s = clock() + SLACK_S
        try:
            async with asyncio.timeout(UPLOAD_S):
                while not self.whole:
                    async with asyncio.timeout_at(late_s):
                        part = await self._part()
                    # What is sent buys time, but nobody saves more of it than the slack.
                    late_s = min(late_s + len(part) / LEAST_RATE, clock() + SLACK_S)
                    size += len(part)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    disk.grow(len(part))
                    file.write(part)
        except TimeoutError:
            raise Refused(
                408,
                f"the body came more slowly than {LEAST_RATE // 1024} KiB/s, or took over {UPLOAD_S:g} s: send it "
                "again over a faster line, or send less",
            ) from None
        except OSError as error:
            raise Refused(
                503, f"the server has no room for the body ({error.strerror}): send it again later", 10
            ) from error
        return size

    async def drain(self) -> None:
        """Read on for a while without keeping anything: who sends all before it reads would not see the answer."""
        with contextlib.suppress(TimeoutError, Gone):
            async with asyncio.timeout(DRAIN_S):
                while not self.whole:
                    await self._part()

    async def refuse(self, refused: Refused, send: Send) -> None:
        """Answer at once, and read what is still being sent before the connection closes."""
        answer = refused.response()
        if not self.whole:
            answer.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await self.drain()
        await send({"type": "http.response.body", "body": b""})

    async def gone(self) -> None:
        """Wait until the client goes away."""
        with contextlib.suppress(Gone):
            while True:
                await self._part()


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        413, f"the body is larger than {max_bytes / 1e6:g} MB, which is what --max_upload_mb allows: send less"
    )


@dataclass(frozen=True)
class Examined:
    """A request that was checked.

    Attributes:
        content: its JSON, written anew, so that the engine reads exactly what was checked.
        pixels: of the pictures that the engine will decode.
        sent: `file:` addresses as the client sent them.
    """

    content: bytes
    pixels: int
    sent: list[str]


def examine(body: bytes, rules: Rules, limits: Limits) -> Examined:
    """Parse a body and check its media and how much it asks for.

    Raises:
        Refused: it is not a JSON object within the bounds, asks for too much, or its media are not taken.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Refused(400, f"the request has more than {MAX_VALUES} values: send it in parts")
    try:
        request: Any = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise Refused(400, "the request is nested too deep: send it flatter") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON ({str(error)[:100]}): check it") from None
    if not isinstance(request, dict):
        raise Refused(400, "the body is not a JSON object: send {...}")
    pixels, sent = check(request, rules)
    try:
        limits.check(request)
        content = json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except RecursionError:
        raise Refused(400, "the request is nested too deep: send it flatter") from None
    except ValueError:
        raise Refused(400, "the request holds half of a character or a number without end: check its texts") from None
    return Examined(content, pixels, sent)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
