"""The page over a run folder, served on this machine until it is stopped."""

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
from surgvl.demo.routes import routes
from surgvl.demo.video_catalog import MAX_UPLOAD_BYTES

HERE = Path(__file__).resolve().parent


def serve_page(
    run: Path, port: int, host: str, open_browser: bool, server: str, api_key: str, allowed_hosts: list[str]
) -> None:
    """Serve the page over a run folder until it is stopped; arguments as `surgvl.cli.demo.demo` has them."""
    with (
        _stopped_by_signals(),
        contextlib.closing(Engine(run, server=server, api_key=api_key)) as engine,
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
                "routes": routes(engine.shelf),
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
        # Importing torch holds the interpreter for 5 ms at a time; each of the page's sixty small files would wait.
        sys.setswitchinterval(0.0005)
        engine.start()
        print(f"surgvl is at {blocks.local_url} (models load in the background); stop it with Ctrl-C", flush=True)
        try:
            threading.Event().wait()
        finally:
            print("stopping", flush=True)
            blocks.close(verbose=False)


def _prepare_gradio(uploads: Path) -> None:
    """What must be set before Gradio is imported: no telemetry, uploads in a folder that goes when the page does."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Gradio asks its own server whether it is up; a proxy would be asked instead.
    hosts = [name for name in (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost") if name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(hosts)


def check_port(host: str, port: int) -> None:
    """Refuse a port that nothing can listen on.

    Raises:
        ConfigError: it is not a port, or is taken.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port} is not a port: give 1 to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot listen on {host}:{port} ({reason}): give another --port or --host") from error


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends the page as Ctrl-C does, from the first moment on, so that no temporary folder stays."""

    def stop(number: int, frame: FrameType | None) -> None:
        # One is enough: another must not break off the tidying up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
