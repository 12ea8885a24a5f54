"""The files of an index folder and their consistency.

index-N.faiss       unit vectors by id
moments-N.sqlite    id -> video, path, start_s, end_s, procedure, source
index.json          {model, model_hash, dim, count, version, number}: N is its number, count is informative

Files are immutable. A write creates those of the next number and then replaces `index.json`, so a reader sees one
consistent version, and a killed write leaves the old one; its remains are removed by the next write.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic, read_json, write_json
from surgvl.core.locks import locked
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.moment_table import MomentTable

VERSION = 1
HEADER_FILE = "index.json"
# Files of any version, finished or not.
_OURS = re.compile(r"\.?(index|moments)(-\d+)?\.(faiss|sqlite).*")
# How long a write waits for one of another process, which takes seconds.
WAIT_S = 120.0


class IndexHeader(BaseModel):
    """`index.json`: the encoder of all vectors, their count, and the number of the version."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    model_hash: str
    dim: int = Field(gt=0)
    count: int = Field(ge=0)
    version: int = VERSION
    number: int = Field(default=0, ge=0)

    @property
    def index_file(self) -> str:
        """Name of the vector file; version 0 has no number."""
        return f"index-{self.number}.faiss" if self.number else "index.faiss"

    @property
    def table_file(self) -> str:
        """Name of the moment table."""
        return f"moments-{self.number}.sqlite" if self.number else "moments.sqlite"


def create_files(folder: Path, head: IndexHeader, exist_ok: bool = False) -> None:
    """Create an empty index folder; `index.json` is written last, so a folder without it can be created again.

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
        with atomic(folder / head.table_file) as temporary:
            MomentTable(temporary).close()
        FaissFlat(head.dim).save(folder / head.index_file)
        _write_header(folder, head)


def open_files(folder: Path) -> tuple[IndexHeader, FaissFlat, MomentTable]:
    """Open the newest version of an index folder during writes, too; the table is read-only.

    Raises:
        DataError: a file is missing or broken, or the files are inconsistent.
    """
    while True:
        head = _read_header(folder)
        try:
            return head, *_open_version(folder, head)
        except DataError:
            # A writer may have replaced this version, and removed its files, since `index.json` was read.
            if _read_header(folder) == head:
                raise


@contextlib.contextmanager
def next_version(folder: Path) -> Iterator[tuple[FaissFlat, MomentTable]]:
    """A mutable copy of the newest version, which becomes the newest if the block succeeds.

    Raises:
        DataError: not an index folder, or it cannot be written.
        ConfigError: another process keeps writing to it.
    """
    with locked(folder, WAIT_S):
        head, index, store = open_files(folder)
        store.close()
        _clear(folder, head)
        after = head.model_copy(update={"number": head.number + 1})
        try:
            with atomic(folder / after.table_file) as temporary:
                _copy(folder / head.table_file, temporary)
                changed = MomentTable(temporary)
                try:
                    yield index, changed
                finally:
                    changed.close()
            index.save(folder / after.index_file)
            _write_header(folder, after.model_copy(update={"count": len(index)}))
        finally:
            _clear(folder, _read_header(folder))


def _read_header(folder: Path) -> IndexHeader:
    if not (folder / HEADER_FILE).is_file():
        raise DataError(f"{folder} is not an index folder (no {HEADER_FILE}): create one with `surgvl index`")
    try:
        head = IndexHeader.model_validate(read_json(folder / HEADER_FILE))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / HEADER_FILE}: {where}: {first['msg']}: rebuild the index") from error
    if head.version != VERSION:
        raise DataError(f"{folder} has index version {head.version}, expected {VERSION}: rebuild the index")
    return head


def _open_version(folder: Path, head: IndexHeader) -> tuple[FaissFlat, MomentTable]:
    for name in (head.table_file, head.index_file):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing: rebuild the index")
    index, store = FaissFlat.load(folder / head.index_file), MomentTable(folder / head.table_file, for_reading=True)
    fault = ""
    if index.dim != head.dim:
        fault = f"{head.index_file} has {index.dim} dimensions and {HEADER_FILE} says {head.dim}"
    elif lost := len(np.setdiff1d(index.ids, store.ids())):
        fault = f"{lost} vectors of {head.index_file} have no row in {head.table_file}"
    if fault:
        store.close()
        raise DataError(f"{folder}: {fault}: rebuild the index")
    return index, store


def _write_header(folder: Path, head: IndexHeader) -> None:
    write_json(folder / HEADER_FILE, head.model_dump())


def _copy(path: Path, to: Path) -> None:
    try:
        shutil.copyfile(path, to)
    except OSError as error:
        raise DataError(
            f"{to.parent} cannot be written ({error.strerror}): check disk space and permissions"
        ) from error


def _clear(folder: Path, head: IndexHeader) -> None:
    """Remove the files of other versions and of killed writes."""
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in (head.index_file, head.table_file):
            path.unlink(missing_ok=True)
