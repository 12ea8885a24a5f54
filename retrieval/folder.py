"""The files of an index folder and their consistency.

base-N.faiss, base-N.parquet      the bulk of the vectors, and their moments in the same order; memory-mapped
base-N.milvus                     instead of base-N.faiss: their ids, and the collection of a server that has them
delta-N.faiss, delta-N.parquet    what was added since, exact; small, so that an addition writes little
texts-N.npy                       vectors of sentences, float32 [T, E], by which every build measures its recall
index.json                        the encoder, both parts, the recordings removed from the base, and its measured recall

Files are immutable. A write creates those of the next number and then replaces `index.json`, so a reader sees one
consistent version, and a killed write leaves the old one; its remains are removed by the next write. The parts of
folders of version 1, index-N.faiss and moments-N.sqlite, are read as a base.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic, read_json, write_json
from surgvl.core.locks import locked
from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.moment_table import MomentTable

VERSION = 2
HEADER_FILE = "index.json"
# Files of any version, finished or not.
_OURS = re.compile(r"\.?(index|moments|base|delta|texts)(-\d+)?\.(faiss|milvus|sqlite|parquet|npy).*")
# How long a write waits for one of another process, which takes seconds.
WAIT_S = 120.0


class Part(BaseModel):
    """Two files of an index folder: vectors and their moments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vectors: str
    moments: str
    backend: str = "flat"
    count: int = Field(ge=0)
    trained: int = Field(default=0, ge=0, description="how many vectors its quantisers were trained for")
    num_bytes: int | None = Field(default=None, description="size of the vector file, known from version 2 on")


class IndexHeader(BaseModel):
    """`index.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    model_hash: str
    dim: int = Field(gt=0)
    count: int = Field(default=0, ge=0)
    version: int = VERSION
    number: int = Field(default=0, ge=0, description="of the version; counts writes")
    config: IndexConfig = IndexConfig()
    base: Part | None = None
    delta: Part | None = None
    removed: tuple[str, ...] = Field(default=(), description="recordings of the base that are no longer in it")
    texts: str = Field(default="", description="file of the sentences by which recall is measured; empty: none")
    recall: dict[str, float] = Field(default={}, description="recall@10 of the base, measured when it was written")
    why: str = Field(default="", description="why the base is of its kind")

    @property
    def files(self) -> set[str]:
        """Names of all files but `index.json`."""
        names = {name for part in (self.base, self.delta) if part for name in (part.vectors, part.moments)}
        return names | {self.texts} if self.texts else names

    @property
    def num_removed(self) -> int:
        """Removed vectors that are still on disk, unsearchable, until the base is built again."""
        return sum(part.count for part in (self.base, self.delta) if part) - self.count


def create_files(folder: Path, head: IndexHeader, exist_ok: bool = False) -> None:
    """Create an empty index folder.

    Args:
        folder: created if missing.
        head: the header to write; its number is 0.
        exist_ok: leave an existing index unchanged.

    Raises:
        ConfigError: it already holds an index, or another process keeps writing to it.
    """
    with locked(folder, WAIT_S):
        if (folder / HEADER_FILE).exists():
            if exist_ok:
                return
            raise ConfigError(f"{folder} already holds an index: open it, or give another folder")
        write_header(folder, head)


def read_header(folder: Path) -> IndexHeader:
    """Read `index.json`, of version 1, too.

    Raises:
        DataError: not an index folder.
    """
    if not (folder / HEADER_FILE).is_file():
        raise DataError(f"{folder} is not an index folder (no {HEADER_FILE}): create one with `surgvl index`")
    found = read_json(folder / HEADER_FILE)
    if isinstance(found, dict) and found.get("version") == 1:
        found = _of_version_1(found)
    try:
        head = IndexHeader.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / HEADER_FILE}: {where}: {first['msg']}: rebuild the index") from error
    if head.version != VERSION:
        raise DataError(f"{folder} has index version {head.version}, expected {VERSION}: rebuild the index")
    return head


def write_header(folder: Path, head: IndexHeader) -> None:
    """Replace `index.json`: from now on, this is the newest version."""
    write_json(folder / HEADER_FILE, head.model_dump())


def read_part(
    folder: Path, head: IndexHeader, part: Part, is_mapped: bool, table: MomentTable | None = None
) -> tuple[BulkIndex, MomentTable]:
    """Vectors and moments of a part.

    Args:
        folder: of the index.
        head: its header.
        part: one of its parts.
        is_mapped: leave vectors in the file where that is possible.
        table: the part's moments, if they have been read.

    Raises:
        DataError: a file is missing or broken, or the files are inconsistent.
    """
    for name in (part.moments, part.vectors):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing: rebuild the index")
    path = folder / part.vectors
    if part.num_bytes is not None and (size := path.stat().st_size) != part.num_bytes:
        raise DataError(f"{path} has {size:,} bytes, {HEADER_FILE} says {part.num_bytes:,}: rebuild the index")
    # A mapped file is not checked by FAISS, so one of unknown length is read.
    index = BACKENDS[part.backend].load(path, is_mapped and part.num_bytes is not None)
    table = MomentTable.read(folder / part.moments) if table is None else table
    if index.dim != head.dim:
        fault = f"{part.vectors} has {index.dim} dimensions and {HEADER_FILE} says {head.dim}"
    elif lost := _unlike(index, table):
        fault = f"{lost} vectors of {part.vectors} have no row in {part.moments}, or the reverse"
    else:
        return index, table
    raise DataError(f"{folder}: {fault}: rebuild the index")


def write_part(folder: Path, stem: str, backend: str, index: BulkIndex, table: MomentTable) -> Part:
    """Write the files of a part, whose vectors and moments are in the same order."""
    vectors, moments = f"{stem}.{index.SUFFIX}", f"{stem}.parquet"
    table.write(folder / moments)
    index.save(folder / vectors)
    num_bytes = (folder / vectors).stat().st_size
    count = len(index)
    return Part(vectors=vectors, moments=moments, backend=backend, count=count, trained=count, num_bytes=num_bytes)


def read_texts(folder: Path, head: IndexHeader) -> NDArray[np.float32] | None:
    """Vectors of the sentences by which recall is measured, float32 [T, E]; None: there are none.

    Raises:
        DataError: the file is missing or broken.
    """
    if not head.texts:
        return None
    try:
        found = np.load(folder / head.texts, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder / head.texts} is not an array ({error}): rebuild the index") from error
    if found.ndim != 2 or found.shape[1] != head.dim:
        raise DataError(f"{folder / head.texts} must be [T, {head.dim}], got {found.shape}: rebuild the index")
    return np.asarray(found, np.float32)


def write_texts(path: Path, texts: NDArray[np.float32]) -> None:
    """Write vectors of sentences [T, E]."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, texts)


def clear(folder: Path, head: IndexHeader) -> None:
    """Remove the files of other versions and of killed writes."""
    backends = {f".{kind.SUFFIX}": kind for kind in BACKENDS.values()}
    for path in sorted(folder.iterdir()):
        if not _OURS.fullmatch(path.name) or path.name in head.files:
            continue
        if path.suffix in backends:
            backends[path.suffix].clear(path, [folder / name for name in head.files if name.endswith(path.suffix)])
        else:
            path.unlink(missing_ok=True)


def _unlike(index: BulkIndex, table: MomentTable) -> int:
    """How many ids only one of them has."""
    if np.array_equal(index.ids, table.ids):
        return 0
    return len(np.setxor1d(index.ids, table.ids))


def _of_version_1(found: dict[str, Any]) -> dict[str, Any]:
    """The header of a version 1 folder, in which version 0 of the files has no number."""
    number = found.get("number", 0)
    suffix = f"-{number}" if number else ""
    count = found.get("count", 0)
    base = {"vectors": f"index{suffix}.faiss", "moments": f"moments{suffix}.sqlite", "count": count, "trained": count}
    return {**found, "version": VERSION, "base": base}
