"""Settings of a server: where it listens, what it accepts, and what it prints at the start."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from surgvl.core.credentials import read_key
from surgvl.core.errors import ConfigError
from surgvl.serve.engine_process import EngineProcess, Role
from surgvl.serve.payloads import is_loopback
from surgvl.serve.recognise import NAME
from surgvl.serve.recognise import PATH as RECOGNISE
from surgvl.serve.request_limits import RequestLimits

# A valid request for each role.
EXAMPLES: Mapping[Role, tuple[str, dict[str, object]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "What is the cystic duct?"}], "max_tokens": 32},
    ),
    "embed": ("/v1/embeddings", {"input": ["the clipper clips the cystic duct"]}),
}

# A video as the body of a request, in a shell.
VIDEO_BODY = """printf '{"video_url": "data:video/mp4;base64,%s"}' "$(base64 -w0 video.mp4)\""""


@dataclass(frozen=True, kw_only=True)
class ServerSettings(RequestLimits):
    """Address and limits of a server; the limits of a single request are those of `RequestLimits`.

    Args:
        host: address to listen on; other machines can reach it only if it is not a loopback address.
        port: port to listen on; 0: any free port.
        api_key: key that clients must send as a bearer token; empty: no key is needed. It is safer to set the
            environment variable SURGVL_API_KEY or to give @FILE, because the list of processes shows the arguments of
            a command until they are wiped.
        allowed_hosts: host names by which clients may reach the server, in addition to its own addresses; '*': any.
        max_video_s: maximum length of a video, in seconds.
        max_upload_mb: maximum size of a request body, in 10^6 bytes.
        max_connections: maximum number of concurrent connections; the limit on open files may allow fewer. Idle ones
            are closed first.
        media_folder: folder whose files requests may refer to by file:// URLs; by default, no file is read.
        trust_embeds: accept embeddings as input, from trusted clients only: a wrong shape can crash an engine.
        tensor_parallel: number of GPUs that each layer is split over.
        data_parallel: number of copies of each model.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str = ""
    allowed_hosts: list[str] | None = None
    max_video_s: float = 600.0
    max_upload_mb: float = 64.0
    max_connections: int = 1024
    media_folder: Path | None = None
    trust_embeds: bool = False
    tensor_parallel: int = 1
    data_parallel: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a number is out of range, or `media_folder` is not a folder.
        """
        for name in (*(each for each in vars(self) if each.startswith("max_")), "tensor_parallel", "data_parallel"):
            if not vars(self)[name] > 0:
                raise ConfigError(f"--{name} must be > 0, got {vars(self)[name]}")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"--port must be 1 to 65535, or 0 for any free port, got {self.port}")
        if self.media_folder is not None and not self.media_folder.is_dir():
            raise ConfigError(f"--media_folder {self.media_folder} is not a folder: check the path")

    @property
    def key(self) -> str:
        """The key that clients must send; empty if no key is needed."""
        return read_key(self.api_key)

    def warning(self) -> str:
        """What is unsafe about these settings; empty if nothing is."""
        if is_loopback(self.host) or self.key:
            return ""
        return (
            f"--host {self.host} lets other machines connect, and no key is set: anyone who can reach the server can "
            "use it; set SURGVL_API_KEY"
        )

    def welcome(self, engines: Mapping[Role, EngineProcess], has_readout: bool, port: int) -> str:
        """Addresses, names of models and an example request."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        role = next(iter(engines), None)
        path, body = (RECOGNISE, {}) if role is None else EXAMPLES[role]
        line = shlex.join(["curl", "-s", base + path, "-H", "Content-Type: application/json"])
        if role is None:
            line = f"{VIDEO_BODY} | {line} -d @-"
        else:
            line += f" -d {shlex.quote(json.dumps({'model': engines[role].model, **body}))}"
        if self.key:
            # The key itself must not appear on the screen.
            line += ' -H "Authorization: Bearer $SURGVL_API_KEY"'
        names = ", ".join((*(engine.model for engine in engines.values()), *([NAME] if has_readout else [])))
        return (
            f"serving {names} at {base}/v1 (state: {base}/health, models: {base}/surgvl/about)\n"
            f"try it:\n  {line}\nstop with Ctrl-C"
        )
