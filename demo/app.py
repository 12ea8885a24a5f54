"""Serves the page of a run folder until it is stopped."""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from surgvl.core.errors import ConfigError
from surgvl.demo.engine import Engine
from surgvl.demo.routes import export_route, routes
from surgvl.demo.video_catalog import MAX_UPLOAD_BYTES

HERE = Path(__file__).resolve().parent


def serve_page(
    run: Path,
    port: int,
    host: str,
    open_browser: bool,
    server: str,
    api_key: str,
    allowed_hosts: list[str],
    model: str = "",
) -> None:
    """Serve the page of a run folder until it is stopped; for the arguments see `surgvl.cli.demo.demo`."""
    with (
        _sigterm_as_interrupt(),
        contextlib.closing(Engine(run, server=server, api_key=api_key, model=model)) as engine,
        tempfile.TemporaryDirectory(prefix="surgvl-demo-", ignore_cleanup_errors=True) as uploads,
    ):
        check_port(host, port)
        _prepare_gradio(Path(uploads))
        from starlette.middleware import Middleware

        from surgvl.demo import page
        from surgvl.serve.trusted_hosts import TrustedHosts

        blocks = page.build(engine, Path(uploads))
        blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            theme=page.theme(),
            css_paths=sorted(HERE.glob("*.css")),
            head="".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in sorted(HERE.glob("*.js"))),
            favicon_path=HERE / "favicon.svg",
            app_kwargs={
                "routes": [*routes(engine.catalog), export_route(engine.timeline_file)],
                "middleware": [Middleware(TrustedHosts, host=host, allowed=allowed_hosts)],
            },
            max_file_size=MAX_UPLOAD_BYTES,
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
        )
        # While torch is imported, its thread holds the interpreter for 5 ms at a time, and each of the page's sixty
        # small files would wait for that long.
        sys.setswitchinterval(0.0005)
        engine.start()
        print(
            f"surgvl is running at {blocks.local_url} (models load in the background); stop it with Ctrl-C", flush=True
        )
        try:
            threading.Event().wait()
        finally:
            print("stopping", flush=True)
            blocks.close(verbose=False)


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
def _sigterm_as_interrupt() -> Iterator[None]:
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
