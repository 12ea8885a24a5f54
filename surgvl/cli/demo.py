"""The `demo` command: the web page for a run folder, or for a small sample one.

The sample has eight synthetic operations, analysed by the shipped models; making it takes about a minute.
"""

import importlib.util
import shutil
from pathlib import Path

from surgvl.cli.stages import run_stages
from surgvl.core.errors import ConfigError
from surgvl.models.model_info import find_model

# Operations that the shipped models were not trained on; see surgvl/models/phantom/README.md.
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
    model: str = "",
) -> None:
    """Open the web page: ask questions about recordings, find moments, see the timeline.

    Args:
        run: run folder of `surgvl quickstart`, or a folder with `vectors` and `index`; by default, eight synthetic
            operations analysed by the shipped models, which are written to runs/phantom on the first start.
        port: port to listen on.
        host: address to listen on; other machines can reach the page only if this is not a loopback address.
        open_browser: open the page in this machine's browser.
        server: address of `surgvl serve all` with the run's models, or any OpenAI-compatible address, which answers
            questions; by default, the models run in this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        allowed_hosts: host names by which browsers may reach the page, in addition to this machine's own addresses;
            '*': any.
        model: what answers questions in place of the run's own model: the name of one of the models of an
            OpenAI-compatible address.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the page needs gradio, which is not installed: run pip install 'surgvl[demo]'")
    from surgvl.demo.app import check_port, serve_page

    check_port(host, port)
    if run is None:
        run = prepare(PHANTOM)
        print("Synthetic operations, analysed by the models that ship; `make quickstart` trains models from scratch")
    serve_page(run, port, host, open_browser, server, api_key, allowed_hosts or [], model)


def prepare(out: Path) -> Path:
    """Render the operations, embed and index them; an interrupted folder is completed, a complete one is left alone.

    Args:
        out: run folder for the page.
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
