"""Serves the page of an archive until it is stopped, on Gradio's server: FastAPI, with a queue for programs.

The page asks by plain routes. `search` and `ask` are endpoints of Gradio's queue as well, one at a time, for programs
that use `gradio_client` or an agent.
"""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from surgvl.core.errors import ConfigError
from surgvl.demo.access import Access, Lock
from surgvl.demo.engine import Engine
from surgvl.demo.routes import add_routes
from surgvl.demo.schemas import AskRequest, SearchRequest
from surgvl.demo.uploads import MAX_BYTES
from surgvl.serve.trusted_hosts import TrustedHosts

if TYPE_CHECKING:
    import gradio

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Address:
    """Where a page is reached, and by whom; see `surgvl.cli.demo.demo`."""

    port: int = 7860
    host: str = "127.0.0.1"
    open_browser: bool = False
    allowed_hosts: tuple[str, ...] = ()
    lock: Lock = Lock()  # noqa: RUF009 (nobody changes it)


def serve_page(engine: Engine, address: Address) -> None:
    """Serve the page of an archive until it is stopped.

    Args:
        engine: the archive; it is started here, and closed by the caller.
        address: where.

    Raises:
        ConfigError: the port is in use.
    """
    check_port(address.host, address.port)
    with (
        sigterm_as_interrupt(),
        tempfile.TemporaryDirectory(prefix="surgvl-demo-", ignore_cleanup_errors=True) as scratch,
    ):
        _prepare_gradio(Path(scratch))
        server = build(engine, Path(scratch), address)
        _, local_url, _ = server.launch(
            server_name=address.host,
            server_port=address.port,
            favicon_path=HERE / "favicon.svg",
            max_file_size=MAX_BYTES,
            footer_links=[],
            allowed_paths=[],
            share=False,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            quiet=True,
            prevent_thread_lock=True,
            _frontend=False,
        )
        # While torch is imported, its thread holds the interpreter for 5 ms at a time, and each of the page's files
        # would wait for that long.
        sys.setswitchinterval(0.0005)
        engine.start()
        link = f"{local_url}?token={address.lock.token}" if address.lock.token else local_url
        print(f"surgvl is running at {link} (models load in the background); stop it with Ctrl-C", flush=True)
        if address.open_browser:
            import webbrowser

            webbrowser.open(link)
        try:
            threading.Event().wait()
        finally:
            print("stopping", flush=True)
            engine.events.close()
            server.get_blocks().close(verbose=False)


def build(engine: Engine, scratch: Path, address: Address) -> "gradio.Server":
    """The application of a page, not yet served.

    Args:
        engine: the archive.
        scratch: folder for files that end with the page.
        address: who may reach it.
    """
    import gradio

    server = gradio.Server(title="surgvl", docs_url=None, redoc_url=None, openapi_url=None)
    dress(server, engine, scratch, address)

    @server.api(name="search", concurrency_limit=1)  # type: ignore[untyped-decorator]
    def search(text: str, k: int = 12) -> list[dict[str, Any]]:
        """Moments of the archive that match a sentence, best first."""
        return [hit.model_dump() for hit in engine.search(SearchRequest(text=text, k=k)).hits]

    @server.api(name="ask", concurrency_limit=1)  # type: ignore[untyped-decorator]
    def ask(recording: str, start_s: float, end_s: float, question: str) -> dict[str, Any]:
        """The answer to a question about a range of a recording."""
        given = AskRequest(recording=recording, start_s=start_s, end_s=end_s, question=question)
        return engine.ask(given).model_dump()

    return server


def dress(app: FastAPI, engine: Engine, scratch: Path, address: Address) -> None:
    """Add the page's routes to an application, and what stands before them; for the arguments see `build`."""
    # What is added last is asked first.
    app.add_middleware(Access, lock=address.lock)
    app.add_middleware(TrustedHosts, host=address.host, allowed=address.allowed_hosts)
    add_routes(app, engine, scratch)


def _prepare_gradio(uploads: Path) -> None:
    """Settings before Gradio is imported: no telemetry, and an upload folder that is deleted with the page."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Gradio sends requests to its own server, which must not go through a proxy.
    hosts = [name for name in (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost") if name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(hosts)


def check_port(host: str, port: int) -> None:
    """Check that a port can be listened on.

    Raises:
        ConfigError: it is not a port, or it is in use.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port must be 1 to 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot listen on {host}:{port} ({reason}): give another --port or --host") from error


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM stops the page like Ctrl-C, even while it starts, so that no temporary folder is left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        # Another SIGTERM must not interrupt the cleanup.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
