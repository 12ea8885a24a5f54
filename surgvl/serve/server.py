"""A running server: one engine per model and the gateway in front of them, until a signal or a failure."""

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from surgvl.chat.vision_language_config import is_vision_language
from surgvl.core.errors import ConfigError
from surgvl.models.model_info import load_preprocess
from surgvl.serve.connection import connection_limit, uvicorn_options
from surgvl.serve.engine_process import EngineProcess, Role, is_cpu_build
from surgvl.serve.gateway import Gateway
from surgvl.serve.general_model import general_flags, general_folder
from surgvl.serve.media_check import MediaRules
from surgvl.serve.prepare_model import embed_flags, prepare_model
from surgvl.serve.recognise import Recognise
from surgvl.serve.served_model import MODEL_NAMES, describe_models
from surgvl.serve.settings import ServerSettings
from surgvl.serve.supervisor import Supervisor

# Grace for requests that are being answered when the server stops, seconds.
SHUTDOWN_S = 3
# Frames that are decoded of a video file for a general model, unless a request says otherwise.
GENERAL_FRAMES = 32

Print = Callable[[str], None]


def run_server(
    folders: Mapping[Role, Path],
    settings: ServerSettings,
    engine_args: Sequence[str],
    inform: Print,
    warn: Print,
    readout: Recognise | None = None,
) -> None:
    """Serve models until SIGINT or SIGTERM.

    Args:
        folders: model folder of each role.
        settings: where to listen, and what to accept.
        engine_args: further arguments for vLLM.
        inform: prints a line about progress.
        warn: prints a warning.
        readout: served beside them, or alone.

    Raises:
        ConfigError: vLLM is not installed, or the address cannot be used.
        ServerError: an engine did not start, or died twice.
    """
    with _listen(settings) as listening, _temporary_folder() as place:
        engines = {role: _engine(role, folder, settings, engine_args, place) for role, folder in folders.items()}
        supervisor = Supervisor()
        asyncio.run(_Server(engines, supervisor, folders, settings, listening, inform, warn, readout).run())


def _engine(
    role: Role, folder: Path, settings: ServerSettings, engine_args: Sequence[str], place: Path
) -> EngineProcess:
    ready, flags, num_frames = folder, list(engine_args), GENERAL_FRAMES
    if is_vision_language(str(folder)):
        name = str(folder)
        ready, flags = general_folder(name), [*general_flags(name, MODEL_NAMES[role]), *engine_args]
    else:
        num_frames = load_preprocess(folder).num_frames
    if role == "embed":
        ready, flags = prepare_model(folder, place / "model"), [*embed_flags(folder), *engine_args]
    return EngineProcess(
        role,
        ready,
        MODEL_NAMES[role],
        place / f"{role}.sock",
        place / f"{role}.log",
        cpu=is_cpu_build(),
        tensor_parallel=settings.tensor_parallel,
        data_parallel=settings.data_parallel,
        media_folder=settings.media_folder and settings.media_folder.resolve(),
        trust_embeds=settings.trust_embeds,
        extra_args=flags,
        num_frames=num_frames,
        max_tokens=settings.max_tokens,
    )


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A private folder for sockets and logs, which is kept if something fails."""
    place = Path(tempfile.mkdtemp(prefix="surgvl-serve-"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _listen(settings: ServerSettings) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
        # Headers and body are written separately; without this, the body waits 40 ms for the headers' ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        where = f"--host {settings.host} --port {settings.port}"
        why = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {where} ({why}): choose another --port or --host") from error
    with listening:
        yield listening


class _WebServer(uvicorn.Server):
    """A web server that leaves signals to the process that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Server:
    """Engines and web server in one event loop."""

    def __init__(
        self,
        engines: Mapping[Role, EngineProcess],
        supervisor: Supervisor,
        folders: Mapping[Role, Path],
        settings: ServerSettings,
        listening: socket.socket,
        inform: Print,
        warn: Print,
        readout: Recognise | None,
    ) -> None:
        self.readout = readout
        self.engines, self.folders, self.settings, self.listening = engines, folders, settings, listening
        self.supervisor = supervisor
        self.inform, self.warn = inform, warn

    async def run(self) -> None:
        """Run until a signal arrives, or an engine is given up."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._out_of_descriptors)
        # asyncio warns about writes to a client that has just disconnected.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        about: dict[str, Any] = {}
        web = self._web_server(about)
        logs = ", ".join(f"{engine.log}" for engine in self.engines.values())
        if self.engines:
            self.inform(f"starting {' and '.join(self.engines)}: half a minute or more; vLLM's output goes to {logs}")
        tasks = [
            asyncio.create_task(web.serve(sockets=[self.listening])),
            asyncio.create_task(stop.wait()),
            *(
                asyncio.create_task(each.keep_running(self.supervisor, self.warn, self._on_ready))
                for each in self.engines.values()
            ),
        ]
        try:
            about |= await asyncio.to_thread(describe_models, self.folders)
            if self.readout is not None:
                about["readout"] = await asyncio.to_thread(self.readout.about)
            if not self.engines:
                self._on_ready()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            self.inform("stopping")
        finally:
            web.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            # Before the engines, which wait for open connections.
            await asyncio.wait(tasks[:1], timeout=2 * SHUTDOWN_S)
            self.supervisor.ask_no_more()
            await asyncio.gather(*(asyncio.to_thread(engine.stop) for engine in self.engines.values()))
            await asyncio.to_thread(self.supervisor.wait)
            await asyncio.gather(*tasks, return_exceptions=True)

    def _web_server(self, about: Mapping[str, Any]) -> _WebServer:
        settings = self.settings
        if warning := settings.warning():
            self.warn(warning)
        if (limit := connection_limit(settings.max_connections)[0]) < settings.max_connections:
            self.warn(
                f"this shell's limit on open files allows {limit} concurrent connections: raise it with `ulimit -n`"
            )
        gateway = Gateway(
            self.engines,
            MediaRules(
                max_video_s=settings.max_video_s,
                media_folder=settings.media_folder,
                trust_embeds=settings.trust_embeds,
            ),
            settings.max_upload_mb,
            settings.key,
            about,
            settings,
            settings.host,
            settings.allowed_hosts or (),
            self.readout,
        )
        options = uvicorn_options(settings.max_connections)
        return _WebServer(uvicorn.Config(gateway.app, lifespan="on", timeout_graceful_shutdown=SHUTDOWN_S, **options))

    def _on_ready(self) -> None:
        if self.engines:
            self.inform(", ".join(f"{engine.model} {engine.status_text}" for engine in self.engines.values()))
        if all(engine.state == "ready" for engine in self.engines.values()):
            self.inform(self.settings.welcome(self.engines, self.readout is not None, self.listening.getsockname()[1]))

    def _out_of_descriptors(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report in one line that no connection can be accepted at present; waiting ones are accepted later."""
        if isinstance(error := context.get("exception"), OSError) and "accept" in context["message"]:
            self.warn(f"no connection is accepted for a second ({error.strerror}): raise the limit with `ulimit -n`")
        else:
            loop.default_exception_handler(context)
