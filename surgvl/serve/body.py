"""Bodies of requests: read within a limit, held within a budget, parsed within bounds.

A body counts against the budget from its first byte until the engine has all of it; who finds no room waits, in order,
and is not read meanwhile, so that memory stays bounded however many upload at a time.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive

from surgvl.serve.media import Rules, check
from surgvl.serve.refusal import Refused

IDLE_S = 30.0
"""A client that sends nothing for so long is given up."""
UPLOAD_S = 600.0
"""A whole body must be there after so long."""
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

    def give_back(self) -> None:
        """Give it back; a second time does nothing."""
        amount, self.amount = self.amount, 0
        self.room.give(amount)


def length(headers: Mapping[str, str], max_bytes: int) -> int:
    """Bytes that a body will have; the limit where the client does not say.

    Raises:
        Refused: it is not JSON, or is larger than the limit.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the body is not declared as JSON: send it with Content-Type: application/json")
    said = headers.get("content-length")
    # A body in chunks may be of any length, whatever else is said.
    if said is None or "transfer-encoding" in headers:
        return max_bytes
    if not said.isascii() or not said.isdigit():
        raise Refused(400, "Content-Length is not a number: leave it to your client")
    if int(said) > max_bytes:
        raise _too_large(max_bytes)
    return int(said)


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

    async def read(self, max_bytes: int) -> bytearray:
        """Read the body.

        Raises:
            Refused: it is larger than the limit, or does not come.
            Gone: the client went away.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(UPLOAD_S):
                while not self.whole:
                    async with asyncio.timeout(IDLE_S):
                        body += await self._part()
                    if len(body) > max_bytes:
                        raise _too_large(max_bytes)
        except TimeoutError:
            raise Refused(408, f"the body did not come within {IDLE_S:g} s: send it again") from None
        return body

    async def drain(self) -> None:
        """Read on for a while without keeping anything: who sends all before it reads would not see the answer."""
        with contextlib.suppress(TimeoutError, Gone):
            async with asyncio.timeout(DRAIN_S):
                while not self.whole:
                    await self._part()

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


def examine(body: bytes | bytearray, rules: Rules) -> Examined:
    """Parse a body and check its media.

    Raises:
        Refused: it is not a JSON object within the bounds, or its media are not taken.
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
        content = json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except ValueError:
        raise Refused(400, "the request holds half of a character or a number without end: check its texts") from None
    return Examined(content, pixels, sent)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
