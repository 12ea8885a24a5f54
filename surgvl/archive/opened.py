"""An open archive: what it holds, and the right to change it.

Structure (recordings, vectors, index) has one writer at a time, by the lock of the folder; readers take none. The
catalogue says what belongs to the archive, and every writer first brings vectors and index in line with it, so that
what a killed process left is completed by the next one.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from surgvl.archive import header as heads
from surgvl.archive.catalogue import FILE, Catalogue
from surgvl.archive.creating import MANIFEST, SPACES, THUMBNAILS
from surgvl.archive.derived import manifest_of, read_questions, recording_of, save_manifest, write_questions
from surgvl.archive.filters import admitted, resolve
from surgvl.archive.meter import Stop
from surgvl.archive.records import Details, Recording
from surgvl.archive.space import Encoded, Space
from surgvl.archive.space_writer import SpaceWriter
from surgvl.archive.thumbnails import Thumbnails
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import clear_temporary, durable
from surgvl.core.locks import locked
from surgvl.data.manifest import Manifest
from surgvl.embed.vectors import Texts
from surgvl.models.device import Precision
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.where import EVERYWHERE, Where
from surgvl.video.clip import Preprocess

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder


class OpenArchive:
    """An open archive: what can be read from it, and the right to write; its methods are thread-safe.

    Attributes:
        folder: of the archive, absolute.
        catalogue: recordings, details, labels, clips, jobs.
        thumbnails: small pictures of recordings.
        device: torch device on which recordings are embedded.
        precision: in which they are.

    Args:
        folder: an archive.
        device: torch device.
        precision: of the model.

    Raises:
        DataError: the folder is not an archive, or has lost its catalogue.
    """

    def __init__(self, folder: Path | str, device: str = "cpu", precision: Precision = "float32") -> None:
        self.folder, self.device, self.precision = Path(folder).resolve(), device, precision
        heads.read_header(self.folder)
        path = self.folder / FILE
        # SQLite would make an empty one, and the next writer would drop the vectors of all recordings.
        if not path.is_file() or not path.stat().st_size:
            raise DataError(f"{path} is {'empty' if path.is_file() else 'missing'}: restore a copy of it")
        self.catalogue = Catalogue(path)
        self.thumbnails = Thumbnails(self.folder / THUMBNAILS)
        self._spaces: dict[str, Space] = {}
        self._in_manifest, self._is_closed = self.catalogue.num_changes, False
        self._embedder: Embedder | None = None
        # A page loads models in one thread and embeds in another.
        self._loading = threading.Lock()

    def close(self) -> None:
        """Close the catalogue; labels and details that were changed go into the manifest on disk."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.catalogue.num_changes != self._in_manifest:
            # Whoever is writing does so at its end.
            with contextlib.suppress(ConfigError), locked(self.folder):
                save_manifest(self.manifest(), self.folder / MANIFEST)
        self.catalogue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what it is

    @property
    def header(self) -> heads.Header:
        """`archive.json` as it is now."""
        return heads.read_header(self.folder)

    @property
    def name(self) -> str:
        """Its name on the page."""
        return self.header.name

    @property
    def model(self) -> str:
        """The model of its vectors: a folder or a name."""
        return self._located(self.header.model)

    @property
    def chat(self) -> str:
        """The model that answers questions: a folder or a name; may be empty."""
        return self._located(self.header.chat)

    @property
    def space(self) -> Space:
        """The vectors in use."""
        return self.space_of(self.header.space)

    @property
    def model_hash(self) -> str:
        """Hash of the model of its vectors."""
        return self.space.meta.model_hash

    @property
    def dim(self) -> int:
        """Width E of its vectors."""
        return self.space.meta.dim

    @property
    def preprocess(self) -> Preprocess | None:
        """How its clips are cut; None if its vectors do not say."""
        return self.space.meta.preprocess

    def space_of(self, name: str) -> Space:
        """A folder of `spaces/`."""
        return self._spaces.setdefault(name, Space(self.folder / SPACES / name))

    # ---- recordings

    def recordings(self, where: Where = EVERYWHERE) -> list[Recording]:
        """The recordings that meet the conditions, in the order in which they were added."""
        details, rows = self.catalogue.all_details(), self.catalogue.rows()
        if where != EVERYWHERE:
            wanted = admitted(self.catalogue, where)
            rows = [row for row in rows if row.id in wanted]
        return [recording_of(row, self.absolute(row.path), details.get(row.id, Details())) for row in rows]

    def resolve(self, where: Where) -> Where:
        """Conditions as an index understands them: case details and labels become recordings and spans."""
        return resolve(self.catalogue, where)

    def recording(self, id: str) -> Recording:
        """One recording.

        Raises:
            DataError: there is no such recording.
        """
        row = self.catalogue.row(id)
        return recording_of(row, self.absolute(row.path), self.catalogue.details(id))

    def path_of(self, id: str) -> Path:
        """The file of a recording, absolute.

        Raises:
            DataError: there is no such recording.
        """
        return self.absolute(self.catalogue.row(id).path)

    def absolute(self, path: str) -> Path:
        """A path of the catalogue as an absolute one."""
        # Links were followed when the path was stored; following them again would cost more than all else.
        return Path(os.path.normpath(self.folder / path))

    def manifest(self) -> Manifest:
        """All readable recordings with the labels of everybody as segments, the latest where phases overlap."""
        return manifest_of(self.catalogue, self.folder)

    # ---- vectors

    def index(self) -> ClipIndex:
        """The newest version of the index, opened once a version."""
        return self.space.index()

    def vectors_of(self, id: str) -> Encoded:
        """Vectors float32 [N, E] of a recording by time, their starts and ends float64 [N] in seconds.

        Raises:
            DataError: it has none.
        """
        return self.space.vectors_of(id)

    def prompt_sets(self, task: str) -> list[str]:
        """Names of the embedded prompt sets of a task."""
        if self.texts() is None:
            return []
        return [name for name, facts in self.space.meta.prompt_sets.items() if facts.task == task]

    def texts(self) -> Texts | None:
        """The embedded sentences; None for a model without a text tower, and until they are embedded."""
        return self.space.texts

    @property
    def embedder(self) -> "Embedder":
        """The model of the vectors, which is loaded on first use, and again when the archive uses another one.

        May be set to one that runs already.

        Raises:
            DataError: it is not the one that made the vectors.
            CheckpointError: it is gone.
        """
        with self._loading:
            if self._embedder is None or self._embedder.hash != self.model_hash:
                # Imports torch, which reading an archive must not wait for.
                from surgvl.embed.embedder import local_embedder

                stride_s = self.space.meta.stride_s
                self.embedder = local_embedder(Path(self.model), stride_s, None, self.device, self.precision)
            assert self._embedder is not None
            return self._embedder

    @embedder.setter
    def embedder(self, loaded: "Embedder") -> None:
        if loaded.hash != self.model_hash:
            raise DataError(
                f"{self.folder} was made with model {self.model} ({self.model_hash}), and {loaded.name} is "
                f"{loaded.hash}: give that model, or use `surgvl archive reindex`"
            )
        self._embedder = loaded

    # ---- writing

    @contextlib.contextmanager
    def writing(self, wait_s: float = 0.0, should_stop: Stop = lambda: False) -> Iterator[SpaceWriter]:
        """Be the only writer of recordings, vectors and index; what a killed writer left is completed first.

        What is written in the block is on the disk when it ends.

        Args:
            wait_s: seconds to wait for another writer.
            should_stop: asked while it waits.

        Raises:
            ConfigError: another process is still writing; the message names it.
        """
        with locked(self.folder, wait_s, should_stop), durable(), SpaceWriter(self.space) as writer:
            clear_temporary(self.folder)
            self.settle(writer)
            try:
                yield writer
            finally:
                self.settle(writer)

    def settle(self, writer: SpaceWriter) -> None:
        """Bring vectors, index, states, pictures and the manifest on disk in line with the catalogue."""
        videos = self.manifest()
        writer.settle(self.catalogue.rows(), videos)
        for row in self.catalogue.rows():
            state = writer.state(row)
            if state != row.state:
                self.catalogue.set_state(row.id, state, writer.shards.damaged.get(row.id, ""))
        if len(videos.qa_table) < len(read_questions(self.folder)):
            write_questions(self.folder, videos.qa_table)
        save_manifest(videos, self.folder / MANIFEST)
        self.thumbnails.settle({row.content for row in self.catalogue.rows()})
        self._in_manifest = self.catalogue.num_changes

    def _located(self, model: str) -> str:
        return str((self.folder / model).resolve()) if model and (self.folder / model).exists() else model
