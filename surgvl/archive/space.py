"""The vectors of an archive in the space of one model, and their index.

    vectors/    a vectors folder as `surgvl embed` writes it, one shard a recording
    index/      an index folder as `surgvl index` writes it

Only the holder of the archive's lock writes, through a `space_writer.SpaceWriter`; anybody reads.
Shapes: N clips, E width of the space.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.parquet import read_parquet
from surgvl.embed.meta import Meta, read_meta, write_meta
from surgvl.embed.recordings import Shards
from surgvl.embed.vectors import Texts, embed_sets, read_shard, read_texts
from surgvl.models.model_info import ModelFacts
from surgvl.prompts import PromptSet, load_sets
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.folder import HEADER_FILE, IndexHeader, create_files

# Of a space that is not used any more: its vectors are to stay.
KEPT = ".kept"
# Of a space that `reindex` was told to leave half-made: it goes on there.
STOPPED = ".stopped"
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
        # The shard of each recording, as it was last seen.
        self.numbers: dict[str, int] = {}

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
                embed_sets(encode, sets, space.vectors)
            write_meta(space.vectors, Meta.of(model, Shards(space.vectors), sets))
        space.create_index()
        return space

    def embed_sentences(self, encode: Encode) -> bool:
        """Embed the sentences of the space's prompt sets, unless that is done. Returns whether it was not."""
        if not self.meta.prompt_sets or self.texts is not None:
            return False
        embed_sets(encode, load_sets(list(self.meta.prompt_sets)), self.vectors)
        return True

    def create_index(self) -> None:
        """An empty index, if there is none."""
        meta = self.meta
        head = IndexHeader(model=meta.model, model_hash=meta.model_hash, dim=meta.dim)
        create_files(self.index_folder, head, exist_ok=True)

    @cached_property
    def meta(self) -> Meta:
        """The origin of the vectors."""
        return read_meta(self.vectors)

    @property
    def texts(self) -> Texts | None:
        """The embedded sentences; None for a model without a text tower, and until they are embedded."""
        # Vectors are written last: without them, a killed process has left the sentences half-written.
        if self._texts is None and (self.vectors / "texts.safetensors").is_file():
            self._texts = read_texts(self.vectors, self.meta.dim)
        return self._texts

    def forget(self) -> None:
        """Read everything again; call it after the folder was made anew."""
        with self._lock:
            self._index = self._texts = None
            self.numbers = {}
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
            if (number := self.numbers.get(id)) is not None:
                try:
                    found, ids, start_s, end_s = read_shard(self.vectors, number, self.meta.dim)
                except DataError:
                    ids = []
                if ids and ids[0] == id:
                    return found, start_s, end_s
            # Numbers are given anew when shards are dropped.
            self.numbers = self.shard_numbers()
            if id not in self.numbers:
                break
        raise DataError(f"recording {id!r} has no vectors yet: run `surgvl archive update`")

    def shard_numbers(self) -> dict[str, int]:
        """The shard of each recording, while another process may be writing."""
        found = {}
        for path in sorted(self.vectors.glob("shard-*.parquet")):
            try:
                names = read_parquet(path, ["video_id"])["video_id"]
            except (OSError, pa.ArrowInvalid):
                continue  # dropped just now, or damaged, which `verify` says
            if len(names):
                found[names[0].as_py()] = int(path.stem.rpartition("-")[2])
        return found


def unique_spans(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> list[int]:
    """Rows that an index keeps: of clips that were shifted to the same span, the first."""
    spans = list(zip((start_s * 1000).round().tolist(), (end_s * 1000).round().tolist(), strict=True))
    return sorted({span: at for at, span in reversed(list(enumerate(spans)))}.values())
