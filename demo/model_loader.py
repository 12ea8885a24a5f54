"""Loads the models, vectors and index of a run folder in one background thread.

Access to a part waits until it is loaded and raises its error if that failed; the other parts are not affected.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgvl.core.errors import CheckpointError, DataError
from surgvl.demo.run_info import video_text_folder
from surgvl.embed.vectors import Texts, Vectors

if TYPE_CHECKING:
    # Torch and FAISS take seconds to import, which the thread does.
    from surgvl.api import DualModel
    from surgvl.chat.answerers import Answerer
    from surgvl.retrieval.clip_index import ClipIndex
    from surgvl.serve.client import Server
    from surgvl.serve.remote import RemoteDual


@dataclass(frozen=True)
class _Futures:
    vectors: "Future[Vectors]"
    index: "Future[ClipIndex]"
    video_text: "Future[DualModel | RemoteDual]"
    answerer: "Future[Answerer]"


class ModelLoader:
    """Vectors, index and models of a run folder, loaded in the order in which the page needs them.

    Args:
        run: the folder.
        device: torch device of the models.
        server: address of `surgvl serve`, which runs the models, or of any other server, which answers questions; if
            empty, this process does.
        api_key: key of the server.
        model: what answers questions in place of the run's own model, as `surgvl ask` takes it.
    """

    def __init__(self, run: Path, device: str = "cpu", server: str = "", api_key: str = "", model: str = "") -> None:
        self.run, self.device, self.server, self.api_key, self.model = run, device, server, api_key, model
        self._pool = ThreadPoolExecutor(1, "surgvl-load")
        self._lock = threading.Lock()
        self._futures: _Futures | None = None

    def start(self) -> _Futures:
        """Start loading, unless it has started; returns at once."""
        with self._lock:
            if self._futures is None:
                loads = (self._load_vectors, self._load_index, self._load_video_text, self._load_answerer)
                self._futures = _Futures(*(self._pool.submit(load) for load in loads))  # type: ignore[arg-type]
            return self._futures

    def wait(self) -> None:
        """Wait until everything is loaded.

        Raises:
            SurgVLError: a part could not be loaded.
        """
        futures = self.start()
        futures.vectors.result()
        futures.index.result()
        futures.video_text.result()
        if self.has_answerer:
            futures.answerer.result()

    @property
    def has_answerer(self) -> bool:
        """Whether anything answers questions: the run's own model, another one, or a server's."""
        return bool(self.model) or (self.run / "tune").is_dir() or self._is_general

    @property
    def are_done(self) -> bool:
        """Whether loading has finished, successfully or not."""
        return self.start().answerer.done()

    @property
    def vectors(self) -> Vectors:
        """Vectors of the run's videos."""
        return self.start().vectors.result()

    @property
    def texts(self) -> Texts:
        """Embedded prompts."""
        found = self.vectors.texts
        assert found is not None
        return found

    @property
    def index(self) -> "ClipIndex":
        """The search index."""
        return self.start().index.result()

    @property
    def video_text(self) -> "DualModel | RemoteDual":
        """The video-text model behind the vectors and the index."""
        return self.start().video_text.result()

    @property
    def answerer(self) -> "Answerer":
        """The language model or classification head that answers questions."""
        return self.start().answerer.result()

    def close(self) -> None:
        """Cancel what is not loaded yet and close the index."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._futures and not self._futures.index.cancelled() and not self._futures.index.exception():
            self._futures.index.result().close()

    def _load_vectors(self) -> Vectors:
        found = Vectors.load(self.run / "vectors")
        if found.texts is None:
            raise DataError(f"{found.folder} has no prompts: run `surgvl embed` again with --prompt_sets")
        return found

    def _load_index(self) -> "ClipIndex":
        from surgvl.retrieval.clip_index import ClipIndex

        return ClipIndex.open(self.run / "index")

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
        return bool(self.server) and (self._served is None or bool(self._served.get("chat", {}).get("general")))

    def _load_video_text(self) -> "DualModel | RemoteDual":
        folder = video_text_folder(self.run)
        # Other servers, and ours with a general model alone, answer questions only.
        if self._served is not None and ("embed" in self._served or not self._is_general):
            from surgvl.serve.remote import RemoteDual

            remote = RemoteDual(self._server())
            remote.check(folder)
            self.index.check_model(remote.hash, f"that of {self.server}")
            return remote
        from surgvl.api import DualModel, load

        model = load(folder, self.device)
        if not isinstance(model, DualModel):
            raise CheckpointError(f"{folder} is not a video-text model: run `surgvl align` into {self.run / 'align'}")
        self.index.check_model(model.hash, f"that of {folder}")
        return model

    def _load_answerer(self) -> "Answerer":
        from surgvl.api import load_answerer

        own = None if self._is_general else self.run / "tune"
        return load_answerer(self.model or own, self.device, self.server, self.api_key)
