"""One real `surgvl serve all` before tiny models, for every test that needs a server.

Its engines are forks of the process from which all are that tests start of vLLM (`vllm_forks`).
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from surgvl.api import DualModel, load
from surgvl.archive.archive import Archive
from surgvl.chat.answerers import LocalAnswerer
from surgvl.models.checkpoint import save_model
from tests.helpers.gateway_stand import CHAT
from tests.helpers.made_archive import film
from tests.helpers.made_duals import tiny_dual
from tests.helpers.made_organs import save_run, taught
from tests.helpers.served import Served, below, words_of
from tests.helpers.vllm_forks import SMALL_CACHE, VllmForks
from tests.models.test_models import PREPROCESS

EMBED = "/v1/embeddings"
KEY = "live-key"
MAX_VIDEO_S, MAX_UPLOAD_MB = 12, 6


class Live:
    """A running server and the models that it serves.

    Args:
        place: for models, logs and sockets.
        forks: the process that starts its engines.

    Attributes:
        url: its address.
        key: what clients must send.
        chat_run: run folder of the chat model.
        dual_run: model folder of the video-text model.
        archive: archive of three films that names both; its models are those that are served.
        media: folder whose files may be named.
        served: the command.
        client: sends requests, with the key.
    """

    def __init__(self, place: Path, forks: VllmForks) -> None:
        self.chat_run, self.dual_run = save_run(taught(), place / "chat"), place / "dual"
        save_model(tiny_dual(), self.dual_run, PREPROCESS)
        self.archive = place / "archive"
        with Archive.create(self.archive, self.dual_run, chat=str(self.chat_run), prompt_sets=[]) as archive:
            archive.add([film(place / f"films/{name}.mp4", number, 4) for number, name in enumerate("abc")])
        self.key, self.media, self.temporary = KEY, place / "media", place / "t"
        for folder in (self.media, self.temporary):
            folder.mkdir()
        words = ["--port", "0", "--max_video_s", str(MAX_VIDEO_S), "--max_upload_mb", str(MAX_UPLOAD_MB)]
        # Tests hold an engine busy.
        words += ["--max_forced_tokens", "2000"]
        self.env = {"SURGVL_API_KEY": KEY, "TMPDIR": str(self.temporary)}
        begun = time.monotonic()
        self.forks = forks
        words += ["--archive", str(self.archive), "--media_folder", str(self.media), "--engine_args", *SMALL_CACHE]
        self.served = Served("all", *words, asking=forks.asking, env=self.env)
        try:
            self.url = self.served.url
        except BaseException:
            self.served.drop()
            raise
        self.client = httpx.Client(base_url=self.url, timeout=120, headers={"Authorization": f"Bearer {KEY}"})
        print(f"\nboth engines are ready after {time.monotonic() - begun:.0f} s: {self.served.said}")

    def chat_model(self) -> LocalAnswerer:
        """The chat model in this process."""
        model = load(self.chat_run)
        assert isinstance(model, LocalAnswerer)
        return model

    def dual_model(self) -> DualModel:
        """The video-text model in this process."""
        model = load(self.dual_run)
        assert isinstance(model, DualModel)
        return model

    def chat(self, request: dict[str, Any], **more: Any) -> Any:
        return self.client.post(
            CHAT, json={"model": "surgvl-chat", "max_tokens": 4, "temperature": 0, **request, **more}
        )

    def embed(self, request: dict[str, Any]) -> Any:
        return self.client.post(EMBED, json={"model": "surgvl-embed", **request})

    def vector(self, request: dict[str, Any]) -> NDArray[np.float32]:
        answer = self.embed(request)
        assert answer.status_code == 200, answer.text
        return np.array(answer.json()["data"][0]["embedding"], np.float32)

    def family(self, *roles: str) -> list[int]:
        """Processes of engines, the first of them that which watches over the others."""
        first = [
            pid
            for pid in below(self.forks.pid)
            if "surgvl.serve.supervise " in words_of(pid) and any(f" surgvl-{role} " in words_of(pid) for role in roles)
        ]
        return [pid for each in first for pid in (each, *below(each))]

    def engine(self, role: str, name: str) -> int:
        """A process of an engine: `server` or `core`."""
        _, server, *others = self.family(role)
        if name == "core":
            return next(pid for pid in others if words_of(pid).startswith("VLLM::EngineCore"))
        return server


@contextlib.contextmanager
def serving(place: Path, forks: VllmForks) -> Iterator[Live]:
    """Start it, and stop it with all that belongs to it."""
    live = Live(place, forks)
    try:
        yield live
    finally:
        live.client.close()
        try:
            if live.served.process.poll() is None:
                live.served.end()
        finally:
            live.served.drop()
