"""The vectors of an archive in the space of one model, and their index.

    vectors/    a vectors folder as `surgvl embed` writes it, one shard a recording
    index/      an index folder as `surgvl index` writes it

Only the holder of the archive's lock writes, through a `SpaceWriter`; anybody reads.
Shapes: N clips, E width of the space.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from surgvl.archive.recording_table import FileRow
from surgvl.archive.records import State
from surgvl.core.errors import DataError
from surgvl.data.manifest import Manifest
from surgvl.embed.model_facts import ModelFacts
from surgvl.embed.prompt_sets import load_sets, write_texts
from surgvl.embed.recordings import Shards, read_contents
from surgvl.embed.vectors import Meta, Texts, Vectors, read_meta, read_shard, read_texts, write_meta
from surgvl.embed.writer import encode_video, meta_of
from surgvl.prompts import PromptSet
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.folder import HEADER_FILE

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder

# Content of a shard that holds a few clips of a recording only.
COARSE = "coarse "
# Recordings indexed by one write where many are missing: a write costs more than they do.
AT_ONCE = 200
Encoded = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]
Encode = Callable[[list[str]], NDArray[np.float32]]


class Space:
    """A folder of `spaces/`.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.vectors, self.index_folder = folder, folder / "vectors", folder / "index"
        self._lock = threading.Lock()
        self._index: tuple[object, ClipIndex] | None = None
        self._texts: Texts | None = None
        self._numbers: dict[str, int] = {}

    @classmethod
    def create(cls, folder: Path, model: ModelFacts, sets: Sequence[PromptSet], encode: Encode | None) -> "Space":
        """An empty space of a model; what a killed process began is completed.

        Args:
            folder: created if missing.
            model: the model.
            sets: prompt sets whose sentences it is to hold; none for a model without a text tower.
            encode: maps sentences to vectors; None if they are embedded later, by `embed_sentences`.
        """
        space = cls(folder)
        if not (space.vectors / "vectors.json").is_file():
            space.vectors.mkdir(parents=True, exist_ok=True)
            if encode is not None:
                write_texts(encode, sets, space.vectors)
            write_meta(space.vectors, meta_of(model, Shards(space.vectors), sets))
        space.create_index()
        return space

    def embed_sentences(self, encode: Encode) -> bool:
        """Embed the sentences of the space's prompt sets, unless that is done. Returns whether it was not."""
        if not self.meta.prompt_sets or self.texts is not None:
            return False
        write_texts(encode, load_sets(list(self.meta.prompt_sets)), self.vectors)
        return True

    def create_index(self) -> None:
        """An empty index, if there is none."""
        meta = self.meta
        ClipIndex.create(self.index_folder, meta.model, meta.model_hash, meta.dim, exist_ok=True).close()

    @cached_property
    def meta(self) -> Meta:
        """The origin of the vectors."""
        return read_meta(self.vectors)

    @property
    def texts(self) -> Texts | None:
        """The embedded sentences; None for a model without a text tower, and until they are embedded."""
        if self._texts is None:
            self._texts = read_texts(self.vectors, self.meta.dim)
        return self._texts

    def forget(self) -> None:
        """Read everything again; call it after the folder was made anew."""
        with self._lock:
            self._index = self._texts = None
            self._numbers = {}
            vars(self).pop("meta", None)

    def index(self) -> ClipIndex:
        """The newest version of the index. An earlier one that was handed out stays usable."""
        with self._lock:
            try:
                facts = (self.index_folder / HEADER_FILE).stat()
                stamp: object = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
            except OSError:
                stamp = None
            if self._index is None or stamp is None or self._index[0] != stamp:
                self._index = stamp, ClipIndex.open(self.index_folder)
            return self._index[1]

    def vectors_of(self, id: str) -> Encoded:
        """Vectors float32 [N, E] of a recording by time, starts and ends [N] in seconds.

        Raises:
            DataError: it has none.
        """
        for _ in range(2):
            if (number := self._numbers.get(id)) is not None:
                try:
                    found, ids, start_s, end_s = read_shard(self.vectors, number, self.meta.dim)
                except DataError:
                    ids = []
                if ids and ids[0] == id:
                    return found, start_s, end_s
            # Numbers are given anew when shards are dropped.
            self._numbers = self.shard_numbers()
            if id not in self._numbers:
                break
        raise DataError(f"recording {id!r} has no vectors yet: run `surgvl archive update`")

    def shard_numbers(self) -> dict[str, int]:
        """The shard of each recording, while another process may be writing."""
        found = {}
        for path in sorted(self.vectors.glob("shard-*.parquet")):
            try:
                names = pq.ParquetFile(path).read(["video_id"])["video_id"]
            except (OSError, pa.ArrowInvalid):
                continue  # dropped just now, or damaged, which `verify` says
            if len(names):
                found[names[0].as_py()] = int(path.stem.rpartition("-")[2])
        return found


def unique_spans(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> list[int]:
    """Rows that an index keeps: of clips that were shifted to the same span, the first."""
    spans = list(zip((start_s * 1000).round().tolist(), (end_s * 1000).round().tolist(), strict=True))
    return sorted({span: at for at, span in reversed(list(enumerate(spans)))}.values())


class SpaceWriter:
    """The only writer of a space, while it holds the archive's lock.

    Args:
        space: the space; an index that is not there is created.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.shards = space, Shards(space.vectors)
        space.create_index()
        self.index = ClipIndex.open(space.index_folder)

    def __enter__(self) -> "SpaceWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.index.close()

    def state(self, row: FileRow) -> State:
        """How far a recording is, by its vectors."""
        if row.state == "failed":
            return "failed"
        if self.shards.has(row.id, row.content):
            return "embedded"
        return "coarse" if self.shards.has(row.id, COARSE + row.content) else "waiting"

    def settle(self, rows: Iterable[FileRow], videos: Manifest) -> None:
        """Bring vectors and index in line with the catalogue: what removals, changes and killed processes have left.

        Args:
            rows: all rows of the catalogue.
            videos: their manifest.
        """
        known = {row.id: row for row in rows}
        for id in self.shards.ids:
            if id not in known or self.state(known[id]) not in ("embedded", "coarse"):
                self.shards.drop(id)
        indexed = set(self.index.counts("video_id"))
        for id in indexed - self.shards.ids:
            self.index.delete_video(id)
        missing = sorted(self.shards.ids - indexed)
        for at in range(0, len(missing), AT_ONCE):
            self._index(missing[at : at + AT_ONCE], videos)
        self._write_meta()

    def embed(
        self, embedder: "Embedder", row: FileRow, videos: Manifest, tick: Callable[[float], object], path: Path
    ) -> str:
        """Write and index the vectors of a recording. Returns a line about damaged frames, or an empty one.

        Raises:
            DataError: the file cannot be read.
        """
        found, starts, ends, damaged = encode_video(embedder, path, tick)
        self._put(row.id, row.content, found, starts, ends, damaged, videos)
        return damaged

    def embed_coarsely(self, embedder: "Embedder", row: FileRow, videos: Manifest, path: Path) -> str:
        """Write and index a few vectors of a recording, until `embed` replaces them. Returns an empty line.

        Raises:
            DataError: the file cannot be read.
        """
        if embedder.few is not None:
            self._put(row.id, COARSE + row.content, *embedder.few(path), "", videos)
        return ""

    def copy(self, other: Space, id: str, row: FileRow, videos: Manifest) -> None:
        """Take the vectors of a recording from another space of the same model, if it has any that are missing here.

        Args:
            other: the other space.
            id: of the recording there.
            row: the recording here.
            videos: manifest of the recordings here.
        """
        state = self.state(row)
        if state == "embedded":
            return
        there = read_contents(other.vectors).get(id, "")
        if there == row.content or (state == "waiting" and there == COARSE + row.content):
            found, start_s, end_s = other.vectors_of(id)
            damaged = read_meta(other.vectors).damaged_frames.get(id, "")
            self._put(row.id, there, found, start_s.tolist(), end_s.tolist(), damaged, videos)

    def _put(
        self,
        id: str,
        content: str,
        found: NDArray[np.float32],
        starts: list[float],
        ends: list[float],
        damaged: str,
        videos: Manifest,
    ) -> None:
        if id in self.shards.ids:
            # First from the index: `settle` completes an index that lacks a recording.
            if id in self.index.counts("video_id"):
                self.index.delete_video(id)
            self.shards.drop(id)
        self.shards.write(id, content, found, starts, ends, damaged)
        self._index([id], videos)
        self._write_meta()

    def _index(self, ids: Sequence[str], videos: Manifest) -> None:
        """Add recordings to the index, in one write."""
        parts = [self.space.vectors_of(id) for id in ids]
        found, start_s, end_s = (np.concatenate(column) for column in zip(*parts, strict=True))
        names = [id for id, part in zip(ids, parts, strict=True) for _ in range(len(part[0]))]
        rows = Vectors(found, names, start_s, end_s, self.space.meta, self.space.texts, self.space.vectors)
        self.index.add_vectors(rows, videos)

    def _write_meta(self) -> None:
        now: Mapping[str, Any] = {"num_vectors": self.shards.count, "damaged_frames": self.shards.damaged}
        meta = read_meta(self.space.vectors)
        if any(vars(meta)[name] != value for name, value in now.items()):
            write_meta(self.space.vectors, meta.model_copy(update=now))
