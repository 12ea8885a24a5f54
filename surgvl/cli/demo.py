"""The `demo` command: the web page of an archive, of a run folder, of recordings, or of a small sample.

The sample has eight synthetic operations, analysed by the shipped models; making it takes about a minute.
"""

import contextlib
import importlib.util
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.cli.stages import run_stages
from surgvl.core.allocator import bound_arenas
from surgvl.core.credentials import read_key
from surgvl.core.errors import ConfigError
from surgvl.core.files import command, read_json
from surgvl.models.model_info import find_model

if TYPE_CHECKING:
    from surgvl.archive.archive import Archive

# Operations that the shipped models were not trained on; see surgvl/models/phantom/README.md.
FIRST, NUM = 61, 8
PHANTOM = Path("runs/phantom")
MODELS = {"align": "phantom", "tune": "phantom-chat"}
# The archive of a run folder lies in it.
ARCHIVE = "archive"


@dataclass(frozen=True)
class Opened:
    """An archive for the page.

    Attributes:
        archive: the archive, open.
        add: recordings to add as the page opens.
        temporary: whether it ends with the page.
    """

    archive: "Archive"
    add: tuple[Path, ...] = ()
    temporary: bool = False


def demo(
    videos: list[Path] = [],  # noqa: B006 (never changed)
    archive: Path | None = None,
    run: Path | None = None,
    model: str = "",
    answerer: str = "",
    port: int = 7860,
    host: str = "127.0.0.1",
    open_browser: bool = False,
    password: str = "",
    token: bool = False,
    server: str = "",
    api_key: str = "",
    allowed_hosts: list[str] | None = None,
    device: str = "cpu",
) -> None:
    """Open the web page of recordings: search, ask, see the timeline, label, save clips.

    Args:
        videos: video files, or folders that are searched for them, for a quick look: they are embedded while the page
            is open, a few clips of each at first, into an archive that ends with the page. To keep one, make it with
            `surgvl archive create`.
        archive: folder of `surgvl archive create`.
        run: run folder of `surgvl quickstart`, or a folder with `vectors` and `index`, whose archive is made in it. By
            default, eight synthetic operations analysed by the shipped models, which are written to runs/phantom on the
            first start.
        model: name or folder of the video-text model that embeds the videos; by default, the shipped one, which was
            trained on rendered videos alone. Without videos, the same as --answerer, for one release.
        answerer: what answers questions in place of the archive's own model: a run folder of `surgvl tune`, or the name
            of one of the models of an OpenAI-compatible address.
        port: port to listen on.
        host: address to listen on; other machines can reach the page only if this is not a loopback address.
        open_browser: open the page in this machine's browser.
        password: that visitors must type, or @FILE that contains it.
        token: print an address with a random word; visitors without it must type the password, or are turned away.
        server: address of `surgvl serve all` with the archive's models, or any OpenAI-compatible address, which answers
            questions; by default, the models run in this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        allowed_hosts: host names by which browsers may reach the page, in addition to this machine's own addresses;
            '*': any.
        device: torch device, such as cpu or cuda.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the page needs gradio, which is not installed: run pip install 'surgvl[demo]'")
    if sum(map(bool, (videos, archive, run))) > 1:
        raise ConfigError("give videos, --archive or --run, not several of them")
    bound_arenas()
    from surgvl.demo.access import Lock
    from surgvl.demo.app import Address, check_port, serve_page, sigterm_as_interrupt
    from surgvl.demo.engine import Engine

    check_port(host, port)
    if model and not videos:
        model, answerer = "", answerer or model
    lock = Lock(read_key(password, "the password") if password else "", secrets.token_urlsafe(16) if token else "")
    address = Address(port, host, open_browser, tuple(allowed_hosts or ()), lock)
    with sigterm_as_interrupt(), _opened(videos, archive, run, model, device) as opened:
        engine = Engine(opened.archive, device, server, api_key, answerer, opened.temporary, opened.add)
        with contextlib.closing(engine):
            serve_page(engine, address)


@contextlib.contextmanager
def _opened(videos: list[Path], archive: Path | None, run: Path | None, model: str, device: str) -> Iterator[Opened]:
    """The archive that the arguments of `demo` name; one that is made for recordings is deleted at the end."""
    from surgvl.archive.archive import Archive

    if videos:
        if missing := [each for each in videos if not each.exists()]:
            raise ConfigError(f"{missing[0]} does not exist: give video files, or folders of them")
        with tempfile.TemporaryDirectory(prefix="surgvl-archive-", ignore_cleanup_errors=True) as folder:
            name = videos[0].resolve().name if len(videos) == 1 else f"{len(videos)} recordings"
            chat = "" if model else MODELS["tune"]
            home = Path(folder) / ARCHIVE
            made = Archive.create(home, model or MODELS["align"], name=name, chat=chat, device=device, load=False)
            yield Opened(made, tuple(each.resolve() for each in videos), temporary=True)
    elif archive is not None:
        yield Opened(Archive.open(archive, device))
    else:
        if run is None:
            run = prepare(PHANTOM)
            print(
                "Synthetic operations, analysed by the models that ship; `make quickstart` trains models from scratch"
            )
        yield Opened(Archive.open(archive_of(run), device))


def archive_of(run: Path) -> Path:
    """The archive in a run folder, which is made on first use.

    Raises:
        ConfigError: the folder is not a run folder, or its vectors are no longer those of its archive.
    """
    from surgvl.archive.archive import Archive

    missing = [name for name in ("vectors", "index") if not (run / name).is_dir()]
    if missing and run.is_dir():
        raise ConfigError(
            f"--run {run} lacks {', '.join(missing)}, so it is not a run folder: open recordings with "
            f"`{command('demo', run)}`, an archive with --archive"
        )
    if missing:
        raise ConfigError(f"--run {run} does not exist: make it with `{command('quickstart', out=run)}`")
    folder = run / ARCHIVE
    if not (folder / "archive.json").is_file():
        Archive.from_run(run, folder, name=run.resolve().name).close()
        return folder
    with Archive.open(folder) as made:
        now = read_json(run / "vectors" / "vectors.json").get("model_hash")
        if not (made.folder / "spaces" / str(now)[:12]).is_dir():
            raise ConfigError(
                f"{folder} was made from vectors that {run} no longer has: move it away to make it anew, or open it "
                f"with --archive {folder}"
            )
    return folder


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
