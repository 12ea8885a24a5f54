"""Loads the models of an archive in one background thread.

Access to a model waits until it is loaded and raises its error if that failed; the other one is not affected. When the
archive has switched to another model, `renew` loads that.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from surgvl.archive.archive import Archive
from surgvl.core.errors import CheckpointError, ConfigError, SurgVLError

if TYPE_CHECKING:
    # Torch takes seconds to import, which the thread does.
    from surgvl.api import DualModel
    from surgvl.chat.answerer import Answerer
    from surgvl.serve.client import Server
    from surgvl.serve.remote import RemoteDual

ModelsState = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class _Futures:
    model_hash: str
    video_text: "Future[DualModel | RemoteDual]"
    answerer: "Future[Answerer]"


class ModelLoader:
    """The video-text model of an archive, and what answers questions.

    Args:
        archive: the archive.
        device: torch device of the models.
        server: address of `surgvl serve`, which runs the models, or of any other server, which answers questions; if
            empty, this process does.
        api_key: key of the server.
        model: what answers questions in place of the archive's own model, as `surgvl ask` takes it.
        changed: called whenever a model is loaded, or cannot be.
    """

    def __init__(
        self,
        archive: Archive,
        device: str = "cpu",
        server: str = "",
        api_key: str = "",
        model: str = "",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.archive, self.device, self.server, self.api_key, self.model = archive, device, server, api_key, model
        self._changed = changed
        self._pool = ThreadPoolExecutor(1, "surgvl-load")
        self._lock = threading.Lock()
        self._futures: _Futures | None = None

    def start(self) -> _Futures:
        """Start loading, unless it has started; returns at once."""
        with self._lock:
            if self._futures is None:
                video_text, answerer = self._pool.submit(self._load_video_text), self._pool.submit(self._load_answerer)
                self._futures = _Futures(self.archive.model_hash, video_text, answerer)
                for each in (video_text, answerer):
                    each.add_done_callback(lambda _: self._changed())
            return self._futures

    def renew(self) -> None:
        """Load the archive's present model if it is another one."""
        with self._lock:
            if self._futures is None or self._futures.model_hash == self.archive.model_hash:
                return
            video_text = self._pool.submit(self._load_video_text)
            self._futures = _Futures(self.archive.model_hash, video_text, self._futures.answerer)
        video_text.add_done_callback(lambda _: self._changed())

    def wait(self) -> None:
        """Wait until everything is loaded.

        Raises:
            SurgVLError: a model could not be loaded.
        """
        futures = self.start()
        futures.video_text.result()
        if self.has_answerer:
            futures.answerer.result()

    @property
    def has_answerer(self) -> bool:
        """Whether anything answers questions: the archive's own model, another one, or a server's."""
        return bool(self.model or self.archive.chat) or self._is_general

    @property
    def can_search(self) -> bool:
        """Whether sentences can be embedded, or may be once the model is loaded."""
        found = self._futures
        return found is None or not found.video_text.done() or found.video_text.exception() is None

    @property
    def state(self) -> ModelsState:
        """How far the models are."""
        return "failed" if self.notice else "ready" if self._are_done else "loading"

    @property
    def notice(self) -> str:
        """Why a model could not be loaded, in a line; empty if none has failed."""
        futures = self._futures
        if futures is None:
            return ""
        wanted: list[Future[Any]] = [futures.video_text, *[futures.answerer] * self.has_answerer]
        found = [each.exception() for each in wanted if each.done()]
        return next((str(error) for error in found if error is not None), "")

    @property
    def _are_done(self) -> bool:
        futures = self._futures
        return futures is not None and futures.video_text.done() and futures.answerer.done()

    @property
    def video_text(self) -> "DualModel | RemoteDual":
        """The video-text model behind the vectors and the index, which may have changed since it was loaded."""
        self.renew()
        return self.start().video_text.result()

    @property
    def answerer(self) -> "Answerer":
        """The language model or classification head that answers questions."""
        return self.start().answerer.result()

    def close(self) -> None:
        """Cancel what is not loaded yet."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _server(self) -> "Server":
        from surgvl.serve.client import Server

        return Server(self.server, self.api_key)

    @cached_property
    def _served(self) -> dict[str, Any] | None:
        """What the server says that it serves; None without one, or if it is not `surgvl serve`."""
        return self._server().surgvl_facts() if self.server else None

    @property
    def _is_general(self) -> bool:
        """Whether a server answers questions by a model that is not of our kind."""
        if not self.server:
            return False
        try:
            return self._served is None or bool(self._served.get("chat", {}).get("general"))
        except SurgVLError:
            # The error of the server is that of the models, which say it.
            return False

    def _load_video_text(self) -> "DualModel | RemoteDual":
        name = self.archive.model
        # Other servers, and ours with a general model alone, answer questions only.
        if self._served is not None and ("embed" in self._served or not self._is_general):
            from surgvl.models.model_info import resolve_model
            from surgvl.serve.remote import RemoteDual

            remote = RemoteDual(self._server())
            remote.check(resolve_model(name))
            self._check(remote.hash, self.server)
            return remote
        from surgvl.api import DualModel
        from surgvl.models.video_text import VideoText

        # The same network embeds recordings that are added.
        embedder = self.archive.embedder
        if not isinstance(embedder.network, VideoText):
            raise CheckpointError(
                f"{name} has no text tower, so no sentence can be searched for: find moments like this"
            )
        return DualModel(embedder.network, embedder.preprocess, Path(embedder.name), self.device)

    def _check(self, model_hash: str, whose: str) -> None:
        if model_hash != self.archive.model_hash:
            raise ConfigError(
                f"{whose} serves another model ({model_hash}) than that of the archive ({self.archive.model_hash}): "
                "serve the archive's model, or use `surgvl archive reindex`"
            )

    def _load_answerer(self) -> "Answerer":
        if not self.has_answerer:
            raise ConfigError("no model of this archive answers questions: start the page with --model or --server")
        from surgvl.api import load_answerer

        own = None if self._is_general else self.archive.chat or None
        return load_answerer(
            self.model or (Path(own) if own and Path(own).exists() else own), self.device, self.server, self.api_key
        )
