"""Serves the page of an archive until it is stopped: plain routes of FastAPI, and Gradio's queue for programs."""

import contextlib
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from surgvl.core.errors import ConfigError
from surgvl.demo.access import Access, Lock
from surgvl.demo.engine import Engine
from surgvl.demo.programs import Programs, Queue
from surgvl.demo.routes import add_routes
from surgvl.serve.trusted_hosts import TrustedHosts

# For requests that are being answered when the page stops.
STOP_S = 5.0


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
    with (
        sigterm_as_interrupt(),
        listening(address.host, address.port) as door,
        tempfile.TemporaryDirectory(prefix="surgvl-demo-", ignore_cleanup_errors=True) as scratch,
    ):
        queue = Queue(engine, Path(scratch))
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=queue.lifespan)
        app.add_middleware(Programs, queue=queue)
        dress(app, engine, Path(scratch), address)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))
        thread = threading.Thread(target=server.run, args=([door],), name="surgvl-page", daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        # While torch is imported, its thread holds the interpreter for 5 ms at a time, and each of the page's files
        # would wait for that long.
        sys.setswitchinterval(0.0005)
        try:
            engine.start()
            queue.make_later()
            link = f"{_url(address)}?token={address.lock.token}" if address.lock.token else _url(address)
            print(f"surgvl is running at {link} (models load in the background); stop it with Ctrl-C", flush=True)
            if address.open_browser:
                import webbrowser

                webbrowser.open(link)
            threading.Event().wait()
        finally:
            print("stopping", flush=True)
            engine.events.close()
            server.should_exit = True
            thread.join(STOP_S)


def _url(address: Address) -> str:
    """How this machine's browser reaches the page."""
    host = "localhost" if address.host in ("0.0.0.0", "::") else address.host
    return f"http://{f'[{host}]' if ':' in host else host}:{address.port}/"


def dress(app: FastAPI, engine: Engine, scratch: Path, address: Address) -> None:
    """Add the page's routes to an application, and what stands before them.

    Args:
        app: the application.
        engine: the archive.
        scratch: folder for files that end with the page.
        address: who may reach it.
    """
    # What is added last is asked first.
    app.add_middleware(Access, lock=address.lock)
    app.add_middleware(TrustedHosts, host=address.host, allowed=address.allowed_hosts)
    add_routes(app, engine, scratch)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        ConfigError: it is not a port, or it is in use.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port must be 1 to 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        door = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host}:{port} ({reason}): give another --port or --host") from error
    with door:
        yield door


def check_port(host: str, port: int) -> None:
    """Check that a port can be listened on.

    Raises:
        ConfigError: it is not a port, or it is in use.
    """
    with listening(host, port):
        pass


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
