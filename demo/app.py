"""The `demo` command: a page over a run folder, served on this machine until it is stopped."""

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from surgvl.cli.demo import prepare
from surgvl.core.errors import ConfigError
from surgvl.demo.engine import Engine
from surgvl.demo.routes import routes
from surgvl.demo.video_catalog import MAX_UPLOAD_BYTES

PHANTOM = Path("runs/phantom")
HERE = Path(__file__).resolve().parent


def demo(
    run: Path | None = None,
    port: int = 7860,
    host: str = "127.0.0.1",
    open_browser: bool = False,
    server: str = "",
    api_key: str = "",
    allowed_hosts: list[str] | None = None,
) -> None:
    """Open the page: ask a recording, find moments, read its timeline.

    Args:
        run: run folder, as `surgvl quickstart` leaves it; left out: eight rendered operations under the models that
            ship, which are made in runs/phantom at the first start.
        port: where to listen.
        host: address to listen on; others can reach the page only if this is not a loopback address.
        open_browser: open the page in a browser of this machine.
        server: address of `surgvl serve all` with the run's models; empty: they run in this process.
        api_key: the server's key, or @FILE that holds it; SURGVL_API_KEY, which is better, where it is left out.
        allowed_hosts: names by which browsers reach the page, beside this machine's own addresses; '*': any.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the page needs gradio, which is not installed: pip install 'surgvl[demo]'")
    if run is None:
        _check_port(host, port)
        run = prepare(PHANTOM)
    with (
        _stopped_by_signals(),
        contextlib.closing(Engine(run, server=server, api_key=api_key)) as engine,
        tempfile.TemporaryDirectory(prefix="surgvl-demo-", ignore_cleanup_errors=True) as uploads,
    ):
        _check_port(host, port)
        _prepare_gradio(Path(uploads))
        from starlette.middleware import Middleware

        from surgvl.demo import page
        from surgvl.serve.hosts import Hosts

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
                "middleware": [Middleware(Hosts, listens=host, more=allowed_hosts or ())],
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
        if run == PHANTOM:
            print(
                "Rendered operations under the models that ship; `make quickstart` trains the whole path from nothing"
            )
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


def _check_port(host: str, port: int) -> None:
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
