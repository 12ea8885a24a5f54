"""`surgvl serve` before real engines, for tests."""

import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.gate_stand import CHAT
from tests.served import Served, below, words_of

EMBED = "/v1/embeddings"
MAX_VIDEO_S, MAX_UPLOAD_MB = 12, 6


class Live:
    """Both servers: the one that is told about here, and one that is there to be stopped by Ctrl-C.

    Args:
        run: folder of runs with `tune` and `align`.
        media: folder whose files may be named.
        temporary: for logs and sockets.
    """

    def __init__(self, run: Path, media: Path, temporary: Path) -> None:
        self.media = media
        words = ["--port", "0", "--max_video_s", str(MAX_VIDEO_S), "--max_upload_mb", str(MAX_UPLOAD_MB)]
        models = ["--model", str(run / "tune"), "--embed_model", str(run / "align")]
        self.served = Served("all", *models, *words, "--media_folder", str(media), TMPDIR=str(temporary))
        self.begun = time.monotonic()
        self.client = httpx.Client(base_url=self.served.url, timeout=120)
        self.other = Served("embed", "--model", str(run / "align"), "--port", "0", TMPDIR=str(temporary))

    def chat(self, request: dict[str, Any], **more: Any) -> Any:
        return self.client.post(
            CHAT, json={"model": "surgvl-chat", "max_tokens": 4, "temperature": 0, **request, **more}
        )

    def embed(self, request: dict[str, Any]) -> Any:
        return self.client.post(EMBED, json={"model": "surgvl-embed", **request})

    def vector(self, request: dict[str, Any]) -> Any:
        answer = self.embed(request)
        assert answer.status_code == 200, answer.text
        return np.array(answer.json()["data"][0]["embedding"], np.float32)

    def engine(self, role: str, name: str) -> int:
        """A process of an engine: `keeper`, `server` or `core`."""
        keeper = next(pid for pid in below(self.served.process.pid) if f"surgvl-{role}" in words_of(pid))
        server = next(pid for pid in below(keeper) if f"surgvl-{role}" in words_of(pid))
        core = next((pid for pid in below(server) if words_of(pid).startswith("VLLM::EngineCore")), 0)
        return {"keeper": keeper, "server": server, "core": core}[name]
