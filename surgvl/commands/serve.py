"""The `serve` commands: engines for a chat model, a video-text model or both, and the gate before them."""

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.version import __version__
from surgvl.models.model_info import find_model, load_answers, load_preprocess, local, model_hash, trained
from surgvl.models.schema import read_checked
from surgvl.models.servable import check_servable
from surgvl.serve.connection import most_connections
from surgvl.serve.connection import settings as connection_settings
from surgvl.serve.engine import Engine, Role, on_cpu
from surgvl.serve.gateway import Gate
from surgvl.serve.media import Rules
from surgvl.serve.plugin import require_vllm
from surgvl.serve.prepare_model import embed_words, prepare
from surgvl.serve.settings import ServerSettings

MODELS: Mapping[Role, str] = {"chat": "surgvl-chat", "embed": "surgvl-embed"}
# What each role serves, what that is called, and the command that makes it.
KINDS: Mapping[Role, tuple[str, str, str]] = {
    "chat": ("surgvl_chat", "a chat model", "surgvl tune"),
    "embed": ("surgvl_dual", "a video-text model", "surgvl align"),
}
OTHERS = {"surgvl_video_vit": "a video encoder"}
# For requests that are being answered when the server is stopped, seconds.
LAST_S = 3


def serve_chat(
    model: Path,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    engine_args: list[str] | None = None,
) -> None:
    """Serve a chat model: questions about video over HTTP, as OpenAI's clients ask them.

    Args:
        model: run folder or model folder of a chat model.
        server: where to listen, and what to take.
        engine_args: all words after this flag go to `vllm serve` as they are.
    """
    serve({"chat": model}, server, engine_args or ())


def serve_embed(
    model: Path,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    engine_args: list[str] | None = None,
) -> None:
    """Serve a video-text model: sentences and clips to vectors over HTTP.

    Args:
        model: run folder or model folder of a video-text model.
        server: where to listen, and what to take.
        engine_args: all words after this flag go to `vllm serve` as they are.
    """
    serve({"embed": model}, server, engine_args or ())


def serve_all(
    model: Path,
    embed_model: Path,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    engine_args: list[str] | None = None,
) -> None:
    """Serve a chat model and a video-text model at one address.

    Args:
        model: run folder or model folder of a chat model.
        embed_model: run folder or model folder of a video-text model.
        server: where to listen, and what to take.
        engine_args: all words after this flag go to `vllm serve` as they are, for both models.
    """
    serve({"chat": model, "embed": embed_model}, server, engine_args or ())


def serve(models: Mapping[Role, Path], server: ServerSettings, words: Sequence[str]) -> None:
    """Serve models until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: vLLM is not installed, or the address cannot be used.
        CheckpointError: a folder does not hold what is to be served.
        ServerError: an engine does not start, or died twice.
    """
    on_cpu()
    require_vllm()
    folders = {role: model_folder(role, path) for role, path in models.items()}
    for folder in folders.values():
        check_servable(folder)
    launch(folders, server, words)


def launch(folders: Mapping[Role, Path], server: ServerSettings, words: Sequence[str] = ()) -> None:
    """Serve model folders, whatever vLLM can make of them, until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: vLLM is not installed, or the address cannot be used.
        ServerError: an engine does not start, or died twice.
    """
    cpu = on_cpu()
    with _listen(server) as listening, _workplace() as place:
        engines: dict[Role, Engine] = {}
        for role, folder in folders.items():
            ready, own = folder, list(words)
            if role == "embed":
                ready, own = prepare(folder, place / "model"), [*embed_words(folder), *words]
            engines[role] = Engine(
                role,
                ready,
                MODELS[role],
                place / f"{role}.sock",
                place / f"{role}.log",
                cpu=cpu,
                tensor_parallel=server.tensor_parallel,
                data_parallel=server.data_parallel,
                media_folder=server.media_folder and server.media_folder.resolve(),
                trust_embeds=server.trust_embeds,
                words=own,
                num_frames=load_preprocess(folder).num_frames,
                max_tokens=server.max_tokens,
            )
        asyncio.run(_run(engines, folders, server, listening))


def model_folder(role: Role, path: Path) -> Path:
    """The folder of a model that a role can serve.

    Raises:
        CheckpointError: it is none; the message says what it is.
    """
    folder = find_model(local(path))
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    kind = config.get("model_type")
    wanted, name, command = KINDS[role]
    if kind != wanted:
        known = {each: what for each, what, _ in KINDS.values()} | OTHERS
        held = known.get(str(kind), f"a model of type {kind!r}")
        other = next((f" or use `surgvl serve {each}`" for each in KINDS if KINDS[each][0] == kind), "")
        raise CheckpointError(f"{path} holds {held}, not {name}: give a folder that `{command}` made{other}")
    if role == "chat" and "projector" not in config:
        raise CheckpointError(f"{path} was written before chat models were served: tune the model again")
    return folder


def about(folders: Mapping[Role, Path]) -> dict[str, Any]:
    """Answer of /surgvl/about: what clients must know to send what the models were trained on."""
    out: dict[str, Any] = {"version": __version__}
    for role, folder in folders.items():
        out[role] = {"preprocess": asdict(load_preprocess(folder)), "hash": model_hash(folder)}
        out[role]["trained"] = trained(folder)
        if role == "chat":
            known = load_answers(folder)
            out[role] |= {"answers": known.answers, "questions": known.questions}
            # Without it an answer's likelihood cannot be asked for.
            out[role]["end_id"] = known.end_id
    return out


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    """A folder of this user alone for sockets and logs; it stays when something failed."""
    place = Path(tempfile.mkdtemp(prefix="surgvl-serve-"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _listen(server: ServerSettings) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        listening = socket.create_server((server.host, server.port), family=family, backlog=1024)
        # Head and body are written one after the other: without this, the body waits 40 ms until the head is received.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        where = f"--host {server.host} --port {server.port}"
        why = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"{where} cannot be listened on ({why}): choose another --port or --host") from error
    with listening:
        yield listening


class _Web(uvicorn.Server):
    """A web server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _run(
    engines: Mapping[Role, Engine], folders: Mapping[Role, Path], server: ServerSettings, listening: socket.socket
) -> None:
    """Run gate and engines until a signal, or until an engine is given up."""
    if warning := server.warning():
        _say(warning)
    facts: dict[str, Any] = {}
    rules = Rules(max_video_s=server.max_video_s, media_folder=server.media_folder, trust_embeds=server.trust_embeds)
    gate = Gate(
        engines, rules, server.max_upload_mb, server.key, facts, server, server.host, server.allowed_hosts or ()
    )
    bounds = connection_settings(server.max_connections)
    web = _Web(uvicorn.Config(gate.app, lifespan="on", timeout_graceful_shutdown=LAST_S, **bounds))
    if (most := most_connections(server.max_connections)[0]) < server.max_connections:
        _say(f"this shell's limit of open files leaves {most} connections at a time: raise it by `ulimit -n`")
    asyncio.get_running_loop().set_exception_handler(_no_descriptor)
    # It warns when something was written to a client that had just gone.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)

    def ready() -> None:
        print(", ".join(f"{engine.model} {engine.said}" for engine in engines.values()), flush=True)
        if all(engine.state == "ready" for engine in engines.values()):
            print(server.welcome(engines, listening.getsockname()[1]), flush=True)

    logs = ", ".join(f"{engine.log}" for engine in engines.values())
    print(f"starting {' and '.join(engines)}: half a minute or more; what vLLM says goes to {logs}", flush=True)
    tasks = [
        asyncio.create_task(web.serve(sockets=[listening])),
        asyncio.create_task(told.wait()),
        *(asyncio.create_task(engine.watch(_say, ready)) for engine in engines.values()),
    ]
    try:
        facts |= await asyncio.to_thread(about, folders)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        print("stopping", flush=True)
    finally:
        web.should_exit = True
        for task in tasks[1:]:
            task.cancel()
        # Before the engines, which wait for connections that are still open.
        await asyncio.wait(tasks[:1], timeout=2 * LAST_S)
        await asyncio.gather(*(asyncio.to_thread(engine.stop) for engine in engines.values()))
        await asyncio.gather(*tasks, return_exceptions=True)


def _no_descriptor(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line that no connection can be taken at present: those that wait are taken later."""
    if isinstance(error := context.get("exception"), OSError) and "accept" in context["message"]:
        _say(f"no connection is taken for a second ({error.strerror}): raise the limit by `ulimit -n`")
    else:
        loop.default_exception_handler(context)


def _say(line: str) -> None:
    print(f"surgvl: {line}", file=sys.stderr, flush=True)
