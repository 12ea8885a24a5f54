"""Tell every open page what has changed, as server-sent events (the `text/event-stream` of the HTML standard).

An event is a fact about the present ("this job is at 40 %"), so a page that misses one is put right by the next. A page
says how many there had been when it asked for what it shows, and is told if it has missed some since; one that
reconnects asks for everything anew.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator

# A page that does not read loses its oldest events.
NUM_WAITING = 100
# Proxies close connections on which nothing comes.
BEAT_S = 15.0


class Events:
    """A channel to all open pages; `publish` may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._num_sent = 0

    @property
    def num_sent(self) -> int:
        """How many there have been."""
        return self._num_sent

    def publish(self, kind: str, value: object = None) -> None:
        """Tell all pages.

        Args:
            kind: name of the event: `jobs`, `recordings`, `labels`, `clips` or `models`.
            value: a JSON value.
        """
        self._send(f"event: {kind}\ndata: {json.dumps(value)}\n\n")

    def close(self) -> None:
        """End all streams: a server that stops would wait for them."""
        self._send(None)

    def _send(self, text: str | None) -> None:
        with self._lock:
            self._num_sent += 1
            listeners = list(self._listeners)
        for each in listeners:
            # A server that ends closes its loop first.
            with contextlib.suppress(RuntimeError):
                each.loop.call_soon_threadsafe(each.put, text)

    async def stream(self, since: int | None = None) -> AsyncIterator[str]:
        """Events from now on, until the page goes away; `missed` is the first if there were others.

        Args:
            since: how many there had been when the page asked for what it shows.
        """
        mine = _Listener(asyncio.get_running_loop())
        with self._lock:
            self._listeners.add(mine)
            is_behind = since is not None and since != self._num_sent
        try:
            yield "retry: 2000\n\n"
            if is_behind:
                yield "event: missed\ndata: null\n\n"
            while True:
                try:
                    text = await asyncio.wait_for(mine.waiting.get(), BEAT_S)
                except TimeoutError:
                    text = ": alive\n\n"
                if text is None:
                    return
                yield text
        finally:
            with self._lock:
                self._listeners.discard(mine)


class _Listener:
    """One open page."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: asyncio.Queue[str | None] = asyncio.Queue(NUM_WAITING)

    def put(self, text: str | None) -> None:
        """Add an event, or the end; runs in the page's loop."""
        if self.waiting.full():
            self.waiting.get_nowait()
        self.waiting.put_nowait(text)
