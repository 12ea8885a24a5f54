"""The `demo` command: the page over a run folder, or over one for a first look.

That one has eight rendered operations under the models that ship, and is made in about a minute.
"""

import importlib.util
import shutil
from pathlib import Path

from surgvl.cli.stages import run_stages
from surgvl.core.errors import ConfigError
from surgvl.models.model_info import find_model

# Operations that the shipped models were not trained on, see surgvl/models/phantom/README.md.
FIRST, NUM = 61, 8
PHANTOM = Path("runs/phantom")
MODELS = {"align": "phantom", "tune": "phantom-chat"}


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
    from surgvl.demo.app import check_port, serve_page

    check_port(host, port)
    if run is None:
        run = prepare(PHANTOM)
        print("Rendered operations under the models that ship; `make quickstart` trains the whole path from nothing")
    serve_page(run, port, host, open_browser, server, api_key, allowed_hosts or [])


def prepare(out: Path) -> Path:
    """Render the operations, embed and index them; a folder that was begun is continued, a whole one is left.

    Args:
        out: run folder, as the page takes it.
    """
    out.mkdir(parents=True, exist_ok=True)
    for stage, name in MODELS.items():
        folder, record = out / stage / "model", out / stage / "run.json"
        if not record.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(find_model(name), folder)
            (folder / "run.json").replace(record)
    at = {name: str(out / name) for name in ("phantom", "manifest", "vectors", "index", "align")}
    rendered = ["phantom", "--train", "0", "--val", "0", "--test", str(NUM), "--first", str(FIRST)]
    plan = [
        ("phantom", [*rendered, "--out", at["phantom"]]),
        ("convert", ["data", "convert", "phantom", at["phantom"], at["manifest"]]),
        ("embed", ["embed", "--model", at["align"], "--manifest", at["manifest"], "--out", at["vectors"]]),
        ("index", ["index", "--vectors", at["vectors"], "--manifest", at["manifest"], "--out", at["index"]]),
    ]
    run_stages(out, plan, {"first": FIRST, "videos": NUM})
    return out
