"""A connection of a client: uvicorn's, with bounds on its number and on how long it may say nothing.

uvicorn closes a connection that is idle after an answer. One that never sends a whole head, or goes on sending a body
that nobody reads, would stay for ever and take a file descriptor with it.
"""

import asyncio
import itertools
import resource
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_S = 15.0
"""Time for the head of a request, and between an answer and the next head."""
MAX_HEAD = 1 << 16
"""Bytes of the head of a request."""
SPARE = 64
"""File descriptors for everything else: libraries, logs, media, sockets of the engines."""
TURNS = itertools.count(1)


def most_connections(wanted: int) -> tuple[int, int]:
    """Connections at a time, and how many may wait to be taken, within this process's limit of file descriptors.

    A connection may need a second descriptor (to the engine) and a third (its body on disk), and all that wait are
    taken before the first of them can be closed.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted, 128
    backlog = max(1, min(128, soft // 8))
    return max(1, min(wanted, (soft - SPARE - backlog) // 3)), backlog


def settings(max_connections: int) -> dict[str, Any]:
    """What to give uvicorn, so that all of this holds."""
    most, backlog = most_connections(max_connections)
    return {
        "http": bounded(most),
        "h11_max_incomplete_event_size": MAX_HEAD,
        "timeout_keep_alive": int(IDLE_S),
        "backlog": backlog,
        # Neither is for whoever started the server: requests that are no HTTP, and upgrades that nobody offers.
        "log_level": "error",
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }


def bounded(most: int) -> type["Connection"]:
    """Connections of which there are no more than so many at a time."""
    return type("BoundedConnection", (Connection,), {"most": most})


class Connection(H11Protocol):
    """A connection that is closed when it says nothing for too long, or when a newer one needs its place.

    Attributes:
        most: connections at a time.
        turn: number of its last wait among those of all; clocks of event loops count milliseconds, and many
            connections begin in one.
    """

    most = 1024

    def __init__(self, config: Config, *rest: Any, **more: Any) -> None:
        super().__init__(config, *rest, **more)
        self._late: asyncio.TimerHandle | None = None
        self.turn = 0

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place: a free one, or that of the connection that has been idle for longest."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            # Where all others are at work, the new one goes.
            idle = [each for each in self.connections if isinstance(each, Connection) and each.idle]
            oldest = min(idle, key=lambda each: 0 if each.transport.is_closing() else each.turn)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; a whole head ends the wait for it."""
        super().data_received(data)
        if not self.idle:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.idle:
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self.turn = next(TURNS)
        if not self.transport.is_closing():
            self._late = self.loop.call_later(IDLE_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
