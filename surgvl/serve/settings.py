"""Where a server listens, what it takes, and what it says to who started it."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from surgvl.core.credentials import read_key
from surgvl.core.errors import ConfigError
from surgvl.serve.engine import Engine, Role
from surgvl.serve.payloads import is_near
from surgvl.serve.request_limits import Limits

# A request that works, for each role.
EXAMPLES: Mapping[Role, tuple[str, dict[str, object]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "What is the cystic duct?"}], "max_tokens": 32},
    ),
    "embed": ("/v1/embeddings", {"input": ["the clipper clips the cystic duct"]}),
}


@dataclass(frozen=True, kw_only=True)
class ServerSettings(Limits):
    """The address that users see, and what it takes; bounds for one request are those of `Limits`.

    Args:
        host: address to listen on; others can reach it only if this is not a loopback address.
        port: port to listen on; 0: any that is free.
        api_key: clients must send it as a bearer token; empty: nobody must. Better in the environment, as
            SURGVL_API_KEY, or in a file, as @FILE: a word of the command line shows in the list of processes until it
            is wiped.
        allowed_hosts: names by which clients reach the server, beside its own addresses; '*': any.
        max_video_s: longest video that is taken, seconds.
        max_upload_mb: largest body of a request, 10^6 bytes.
        max_connections: connections at a time; the limit of open files may leave fewer. One that idles gives way.
        media_folder: folder whose files requests may name as file:// addresses; none: no file is read.
        trust_embeds: take embeddings as input; those of the wrong shape can crash an engine, so trust who sends them.
        tensor_parallel: GPUs that share each layer.
        data_parallel: copies of each model.
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
        """Refuse what no server can be.

        Raises:
            ConfigError: a number out of range, or a media folder that is none.
        """
        for name in (*(each for each in vars(self) if each.startswith("max_")), "tensor_parallel", "data_parallel"):
            if not vars(self)[name] > 0:
                raise ConfigError(f"--{name} {vars(self)[name]} is not above 0: give a number above 0")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"--port {self.port} is no port: give 1 to 65535, or 0 for any that is free")
        if self.media_folder is not None and not self.media_folder.is_dir():
            raise ConfigError(f"--media_folder {self.media_folder} is not a folder: check the path")

    @property
    def key(self) -> str:
        """The key that clients must send; empty: none."""
        return read_key(self.api_key)

    def warning(self) -> str:
        """What is unsafe about it; empty: nothing."""
        if is_near(self.host) or self.key:
            return ""
        return (
            f"--host {self.host} is open to other machines and there is no SURGVL_API_KEY: all who reach it can use it"
        )

    def welcome(self, engines: Mapping[Role, Engine], port: int) -> str:
        """Addresses, names of models and a line to try."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        role = next(iter(engines))
        path, body = EXAMPLES[role]
        words = ["curl", "-s", base + path, "-H", "Content-Type: application/json"]
        line = shlex.join([*words, "-d", json.dumps({"model": engines[role].model, **body})])
        if self.key:
            # A key is not written to the screen.
            line += ' -H "Authorization: Bearer $SURGVL_API_KEY"'
        names = ", ".join(engine.model for engine in engines.values())
        return (
            f"serving {names} at {base}/v1 (state: {base}/health, models: {base}/surgvl/about)\n"
            f"try it:\n  {line}\nstop it with Ctrl-C"
        )
