"""Client connections: uvicorn's, with a bound on their number and on idle time.

uvicorn closes a connection that is idle after a response. One that never completes its headers, or keeps sending a body
that is not read, would stay open for ever and hold a file descriptor.
"""

import asyncio
import itertools
import resource
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_S = 15.0
"""Time for the headers of a request, and between a response and the next request."""
MAX_HEADER_BYTES = 1 << 16
"""Size of a request's headers."""
RESERVED_DESCRIPTORS = 64
"""File descriptors for everything else: libraries, logs, media, sockets of the engines."""
_WAITS = itertools.count(1)


def connection_limit(wanted: int) -> tuple[int, int]:
    """Concurrent connections and length of the accept queue that this process's file descriptors allow.

    A connection may need a second descriptor (to the engine) and a third (its body on disk), and all that are queued
    are accepted before the first of them can be closed.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted, 128
    backlog = max(1, min(128, soft // 8))
    return max(1, min(wanted, (soft - RESERVED_DESCRIPTORS - backlog) // 3)), backlog


def uvicorn_options(max_connections: int) -> dict[str, Any]:
    """Options of `uvicorn.Config` that enforce these bounds."""
    limit, backlog = connection_limit(max_connections)
    return {
        "http": limited_connection(limit),
        "h11_max_incomplete_event_size": MAX_HEADER_BYTES,
        "timeout_keep_alive": int(IDLE_S),
        "backlog": backlog,
        # Invalid HTTP and unsupported upgrades need not be reported to the operator.
        "log_level": "error",
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }


def limited_connection(limit: int) -> type["Connection"]:
    """A protocol class of which at most `limit` connections are open at a time."""
    return type("LimitedConnection", (Connection,), {"limit": limit})


class Connection(H11Protocol):
    """A connection that is closed when it idles for too long, or when a newer one needs its place.

    Attributes:
        limit: concurrent connections.
        last_wait: rank of its last idle period among those of all connections. A counter, because many connections
            can begin within one tick of the event loop's clock.
    """

    limit = 1024

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._idle_timer: asyncio.TimerHandle | None = None
        self.last_wait = 0

    @property
    def idle(self) -> bool:
        """Whether none of its requests is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place; if there is none, close the connection that has been idle for longest."""
        super().connection_made(transport)
        self._start_idle_timer()
        if len(self.connections) > self.limit:
            # If all others are busy, the new one is closed.
            idle = [each for each in self.connections if isinstance(each, Connection) and each.idle]
            oldest = min(idle, key=lambda each: 0 if each.transport.is_closing() else each.last_wait)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_idle_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; complete headers stop the timer."""
        super().data_received(data)
        if not self.idle:
            self._stop_idle_timer()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.idle:
            self._start_idle_timer()

    def _start_idle_timer(self) -> None:
        self._stop_idle_timer()
        self.last_wait = next(_WAITS)
        if not self.transport.is_closing():
            self._idle_timer = self.loop.call_later(IDLE_S, self.transport.abort)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
