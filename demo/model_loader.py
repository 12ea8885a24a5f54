"""The parts of a run folder that take time to load: one thread loads them in the order in which a page wants them.

Whoever asks for a part waits for it, and gets what went wrong with it as an error; a broken part spoils no other.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from surgvl.core.errors import CheckpointError, DataError
from surgvl.embed.vectors import Texts, Vectors

if TYPE_CHECKING:
    # Torch and FAISS take seconds to import: the thread does that.
    from surgvl.api import DualModel
    from surgvl.chat.answerers import Answerer
    from surgvl.retrieval.clip_index import ClipIndex
    from surgvl.serve.client import Server
    from surgvl.serve.remote import RemoteDual


class _Futures(NamedTuple):
    vectors: "Future[Vectors]"
    library: "Future[ClipIndex]"
    dual: "Future[DualModel | RemoteDual]"
    answerer: "Future[Answerer]"


class Parts:
    """Vectors, index and models of a run folder.

    Args:
        run: the folder.
        device: torch device of the models.
        server: address of a server that runs the models; empty: this process does.
        api_key: its key.
    """

    def __init__(self, run: Path, device: str = "cpu", server: str = "", api_key: str = "") -> None:
        self.run, self.device, self.server, self.api_key = run, device, server, api_key
        self._pool = ThreadPoolExecutor(1, "surgvl-load")
        self._lock = threading.Lock()
        self._futures: _Futures | None = None

    def start(self) -> _Futures:
        """Begin to load, if that has not begun; returns at once."""
        with self._lock:
            if self._futures is None:
                loads = (self._load_vectors, self._load_library, self._load_dual, self._load_answerer)
                self._futures = _Futures(*(self._pool.submit(load) for load in loads))  # type: ignore[arg-type]
            return self._futures

    def wait(self) -> None:
        """Wait until everything is loaded.

        Raises:
            SurgVLError: something could not be loaded.
        """
        futures = self.start()
        futures.vectors.result()
        futures.library.result()
        futures.dual.result()
        futures.answerer.result()

    @property
    def are_done(self) -> bool:
        """Whether everything is loaded, or has failed to."""
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
    def library(self) -> "ClipIndex":
        """The index."""
        return self.start().library.result()

    @property
    def dual(self) -> "DualModel | RemoteDual":
        """The video-text model that made vectors and index."""
        return self.start().dual.result()

    @property
    def answerer(self) -> "Answerer":
        """What answers questions."""
        return self.start().answerer.result()

    def close(self) -> None:
        """Give up what is not loaded yet and close the index."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._futures and not self._futures.library.cancelled() and not self._futures.library.exception():
            self._futures.library.result().close()

    def _load_vectors(self) -> Vectors:
        found = Vectors.load(self.run / "vectors")
        if found.texts is None:
            raise DataError(f"{found.folder} holds no prompts: run `surgvl embed` again, with prompt sets")
        return found

    def _load_library(self) -> "ClipIndex":
        from surgvl.retrieval.clip_index import ClipIndex

        return ClipIndex.open(self.run / "index")

    def _server(self) -> "Server":
        from surgvl.serve.client import Server

        return Server(self.server, self.api_key)

    def _load_dual(self) -> "DualModel | RemoteDual":
        if self.server:
            from surgvl.serve.remote import RemoteDual

            remote = RemoteDual(self._server())
            remote.check(self.run / "align")
            self.library.check_model(remote.hash, f"that of {self.server}")
            return remote
        from surgvl.api import DualModel, load

        model = load(self.run / "align", self.device)
        if not isinstance(model, DualModel):
            raise CheckpointError(f"{self.run / 'align'} is not a video-text model: run `surgvl align` into it")
        self.library.check_model(model.hash, f"that of {self.run / 'align'}")
        return model

    def _load_answerer(self) -> "Answerer":
        from surgvl.api import load_answerer

        return load_answerer(self.run / "tune", self.device, self.server, self.api_key)
