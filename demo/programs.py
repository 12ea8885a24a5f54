"""`search` and `ask` for programs, as endpoints of Gradio's queue, one call at a time: `gradio_client`, agents.

Gradio takes seconds to import, for which neither page nor models wait: it is ready when these are, or when the first
program asks.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from surgvl.demo.access import is_gradio
from surgvl.demo.engine import Engine
from surgvl.demo.schemas import AskRequest, SearchRequest
from surgvl.demo.uploads import MAX_BYTES

POLL_S = 0.5


class Queue:
    """Gradio's application with the two endpoints, made once.

    Attributes:
        running: what ends with the server.

    Args:
        engine: the archive.
        scratch: folder for files that end with the page.
    """

    def __init__(self, engine: Engine, scratch: Path) -> None:
        self.engine, self.scratch = engine, scratch
        self.running = contextlib.AsyncExitStack()
        self._lock = threading.Lock()
        self._made: FastAPI | None = None

    def app(self) -> FastAPI:
        """The application; the first call takes seconds, and the others wait for it."""
        with self._lock:
            if self._made is None:
                self._made = queue(self.engine, self.scratch)
            return self._made

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Of the page's server: Gradio's queue, once it runs, ends with it."""
        async with self.running:
            yield

    def make_later(self) -> None:
        """Make it once the models are loaded: clients give up after seconds."""

        def work() -> None:
            while self.engine.models.state == "loading":
                time.sleep(POLL_S)
            self.app()

        threading.Thread(target=work, name="surgvl-programs", daemon=True).start()


class Programs:
    """Middleware: Gradio answers at its own addresses, the application behind it at all others.

    Args:
        app: the application.
        queue: Gradio's.
    """

    def __init__(self, app: ASGIApp, queue: Queue) -> None:
        self.app, self.queue = app, queue
        self._one_at_a_time = asyncio.Lock()
        self._gradio: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass a request on."""
        if scope["type"] != "http" or not is_gradio(scope["path"]):
            await self.app(scope, receive, send)
            return
        async with self._one_at_a_time:
            if self._gradio is None:
                made = await run_in_threadpool(self.queue.app)
                # Starts Gradio's queue.
                await self.queue.running.enter_async_context(made.router.lifespan_context(made))
                self._gradio = made
        await self._gradio(scope, receive, send)


def queue(engine: Engine, scratch: Path) -> FastAPI:
    """Gradio's application with the two endpoints.

    Args:
        engine: the archive.
        scratch: folder for files that end with the page.
    """
    # Before Gradio is imported: no telemetry, and an upload folder that is deleted with the page.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(scratch)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import gradio
    from gradio.events import api

    def search(text: str, k: int = 12) -> list[dict[str, Any]]:
        """Moments of the archive that match a sentence, best first."""
        return [hit.model_dump() for hit in engine.search(SearchRequest(text=text, k=k)).hits]

    def ask(recording: str, start_s: float, end_s: float, question: str) -> dict[str, Any]:
        """The answer to a question about a range of a recording."""
        given = AskRequest(recording=recording, start_s=start_s, end_s=end_s, question=question)
        return engine.ask(given).model_dump()

    with gradio.Blocks() as blocks:
        for each in (search, ask):
            api(each, api_name=each.__name__, concurrency_limit=1)
    app: FastAPI = gradio.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        "",
        max_file_size=MAX_BYTES,
        allowed_paths=[],
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
    )
    return app
