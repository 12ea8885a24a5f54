"""The files of an index folder, and whether they belong together.

index-N.faiss       unit vectors by id
moments-N.sqlite    id -> video, path, start_s, end_s, procedure, source
index.json          {model, model_hash, dim, count, version, number}: N is its number, count is for people

Files are never changed once they are there. A write makes those of the next number and then replaces `index.json`, so a
reader sees one version whole, and a write that is killed leaves the old one; what it left is cleared by the next.
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
from surgvl.retrieval.store import Store

VERSION = 1
HEAD_FILE = "index.json"
# Files of any version, finished or not.
_OURS = re.compile(r"\.?(index|moments)(-\d+)?\.(faiss|sqlite).*")
# How long a write waits for another process to end its own, which takes seconds.
WAIT_S = 120.0


class Head(BaseModel):
    """`index.json`: the encoder that all vectors come from, how many there are, and the number of their version."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    model_hash: str
    dim: int = Field(gt=0)
    count: int = Field(ge=0)
    version: int = VERSION
    number: int = Field(default=0, ge=0)

    @property
    def index_file(self) -> str:
        """Name of the file of vectors; that of version 0 has no number."""
        return f"index-{self.number}.faiss" if self.number else "index.faiss"

    @property
    def table_file(self) -> str:
        """Name of the table of moments."""
        return f"moments-{self.number}.sqlite" if self.number else "moments.sqlite"


def create_files(folder: Path, head: Head, exist_ok: bool = False) -> None:
    """Make an empty index folder; `index.json` comes last, so a folder without it can be made again.

    Args:
        folder: made where it is absent.
        head: what to write; its number is 0.
        exist_ok: leave an index that is there as it is.

    Raises:
        ConfigError: it holds an index already, or another process keeps writing there.
    """
    with locked(folder, WAIT_S):
        if (folder / HEAD_FILE).exists():
            if exist_ok:
                return
            raise ConfigError(f"{folder} holds an index already: open it, or give another folder")
        with atomic(folder / head.table_file) as temporary:
            Store(temporary).close()
        FaissFlat(head.dim).save(folder / head.index_file)
        _write_head(folder, head)


def open_files(folder: Path) -> tuple[Head, FaissFlat, Store]:
    """Open the newest version of an index folder, whatever is being written; the table is for reading.

    Raises:
        DataError: a file is absent or broken, or they do not belong together.
    """
    while True:
        head = _read_head(folder)
        try:
            return head, *_open_version(folder, head)
        except DataError:
            # A writer may have replaced this version, and removed its files, since `index.json` was read.
            if _read_head(folder) == head:
                raise


@contextlib.contextmanager
def next_version(folder: Path) -> Iterator[tuple[FaissFlat, Store]]:
    """A copy of the newest version, to be changed; it becomes the newest when the block ends well.

    Raises:
        DataError: not an index folder, or it cannot be written.
        ConfigError: another process keeps writing there.
    """
    with locked(folder, WAIT_S):
        head, index, store = open_files(folder)
        store.close()
        _clear(folder, head)
        after = head.model_copy(update={"number": head.number + 1})
        try:
            with atomic(folder / after.table_file) as temporary:
                _copy(folder / head.table_file, temporary)
                changed = Store(temporary)
                try:
                    yield index, changed
                finally:
                    changed.close()
            index.save(folder / after.index_file)
            _write_head(folder, after.model_copy(update={"count": len(index)}))
        finally:
            _clear(folder, _read_head(folder))


def _read_head(folder: Path) -> Head:
    if not (folder / HEAD_FILE).is_file():
        raise DataError(f"{folder} is not an index folder (no {HEAD_FILE}): make one with `surgvl index`")
    try:
        head = Head.model_validate(read_json(folder / HEAD_FILE))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / HEAD_FILE}: {where}: {first['msg']}: make the index again") from error
    if head.version != VERSION:
        raise DataError(f"{folder} is index version {head.version}, this reads {VERSION}: make the index again")
    return head


def _open_version(folder: Path, head: Head) -> tuple[FaissFlat, Store]:
    for name in (head.table_file, head.index_file):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is not there: make the index again")
    index, store = FaissFlat.load(folder / head.index_file), Store(folder / head.table_file, for_reading=True)
    fault = ""
    if index.dim != head.dim:
        fault = f"{head.index_file} has {index.dim} dimensions and {HEAD_FILE} says {head.dim}"
    elif lost := len(np.setdiff1d(index.ids, store.ids())):
        fault = f"{lost} vectors of {head.index_file} have no row in {head.table_file}"
    if fault:
        store.close()
        raise DataError(f"{folder}: {fault}: make the index again")
    return index, store


def _write_head(folder: Path, head: Head) -> None:
    write_json(folder / HEAD_FILE, head.model_dump())


def _copy(path: Path, to: Path) -> None:
    try:
        shutil.copyfile(path, to)
    except OSError as error:
        raise DataError(f"{to.parent} cannot be written ({error.strerror}): check space and rights") from error


def _clear(folder: Path, head: Head) -> None:
    """Remove the files of other versions, and what a killed write left."""
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in (head.index_file, head.table_file):
            path.unlink(missing_ok=True)
