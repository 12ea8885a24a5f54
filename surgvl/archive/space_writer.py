"""Writing the vectors and the index of a space: by one writer, which completes what a killed one has left.

Shapes: N clips, E width of the space.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surgvl.archive.recording_table import FileRow
from surgvl.archive.records import State
from surgvl.archive.space import Space
from surgvl.core.errors import DataError, Unreadable
from surgvl.data.manifest import Manifest
from surgvl.embed.meta import read_meta, write_meta
from surgvl.embed.recordings import Shards, read_contents
from surgvl.embed.vectors import Vectors
from surgvl.retrieval.clip_index import ClipIndex

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder

# Content of a shard that holds a few clips of a recording only.
COARSE = "coarse "
# Recordings indexed by one write where many are missing: a write costs more than they do.
AT_ONCE = 200


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
        if gone := sorted(indexed - self.shards.ids):
            self.index.delete_video(*gone)
        missing = sorted(self.shards.ids - indexed)
        for at in range(0, len(missing), AT_ONCE):
            self._index(missing[at : at + AT_ONCE], videos)
        self._write_meta()

    def embed(
        self, embedder: "Embedder", row: FileRow, videos: Manifest, tick: Callable[[float], object], path: Path
    ) -> str:
        """Write and index the vectors of a recording. Returns a line about damaged frames, or an empty one.

        Raises:
            Unreadable: the file cannot be read.
            DataError: the archive cannot be written.
        """
        with _reading(row, videos):
            found, starts, ends, damaged = embedder.encode_video(path, tick)
            _check(found, path)
        self._put(row.id, row.content, found, starts, ends, damaged, videos)
        return damaged

    def embed_coarsely(self, embedder: "Embedder", row: FileRow, videos: Manifest, path: Path) -> str:
        """Write and index a few vectors of a recording, until `embed` replaces them. Returns an empty line.

        Raises:
            Unreadable: the file cannot be read.
            DataError: the archive cannot be written.
        """
        if embedder.few is not None:
            with _reading(row, videos):
                found, starts, ends = embedder.few(path)
                _check(found, path)
            self._put(row.id, COARSE + row.content, found, starts, ends, "", videos)
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
        # Known here, and a look into every shard where they are not.
        self.space.numbers = self.shards.numbers
        parts = [self.space.vectors_of(id) for id in ids]
        found, start_s, end_s = (np.concatenate(column) for column in zip(*parts, strict=True))
        names = [id for id, part in zip(ids, parts, strict=True) for _ in range(len(part[0]))]
        rows = Vectors(found, names, start_s, end_s, self.space.meta, self.space.texts, self.space.vectors)
        self.index.add_vectors(rows, videos)

    def build_index(self, videos: Manifest) -> None:
        """Index all recordings anew, in one write: until it is done, readers have the version that is there."""
        if self.shards.ids:
            self._index(sorted(self.shards.ids), videos)

    def _write_meta(self) -> None:
        now: Mapping[str, Any] = {"num_vectors": self.shards.count, "damaged_frames": self.shards.damaged}
        meta = read_meta(self.space.vectors)
        if any(vars(meta)[name] != value for name, value in now.items()):
            write_meta(self.space.vectors, meta.model_copy(update=now))


@contextlib.contextmanager
def _reading(row: FileRow, videos: Manifest) -> Iterator[None]:
    """What goes wrong in the block is the recording's fault; what goes wrong elsewhere, such as a full disk, is not.

    Raises:
        Unreadable: the recording cannot be read, or has no length.
    """
    try:
        videos.video(row.id)
        yield
    except DataError as error:
        raise Unreadable(row.id, str(error)) from error


def _check(vectors: NDArray[np.float32], path: Path) -> None:
    """Refuse vectors that neither shards nor an index take."""
    stored = np.asarray(vectors, np.float16)
    good = np.isfinite(stored).all(1) & stored.any(1)
    if not good.all():
        raise DataError(f"{path}: vector {int((~good).argmax())} is zero or not finite: check the model")
