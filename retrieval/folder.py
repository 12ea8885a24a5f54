"""The files of an index folder, and whether they belong together.

index.faiss       unit vectors by id
moments.sqlite    id -> video, path, start_s, end_s, procedure, source
index.json        {model, model_hash, dim, count, version}; count is for people, index.faiss is what counts
"""

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surgvl.errors import ConfigError, DataError
from surgvl.io import read_json, write_json
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.store import Store

VERSION = 1
INDEX_FILE, TABLE_FILE, HEAD_FILE = "index.faiss", "moments.sqlite", "index.json"


class Head(BaseModel):
    """`index.json`: the encoder that all vectors come from, and how many there are."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    model_hash: str
    dim: int = Field(gt=0)
    count: int = Field(ge=0)
    version: int = VERSION


def create_files(folder: Path, head: Head) -> tuple[FaissFlat, Store]:
    """Make an empty index folder; `index.json` comes last, so a folder without it can be made again.

    Raises:
        ConfigError: it holds an index already.
    """
    if (folder / HEAD_FILE).exists():
        raise ConfigError(f"{folder} holds an index already: open it, or give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLE_FILE).unlink(missing_ok=True)
    index, store = FaissFlat(head.dim), Store(folder / TABLE_FILE)
    index.save(folder / INDEX_FILE)
    write_head(folder, head)
    return index, store


def open_files(folder: Path) -> tuple[Head, FaissFlat, Store]:
    """Open an index folder.

    Raises:
        DataError: a file is absent or broken, or they do not belong together.
    """
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
    if not (folder / TABLE_FILE).is_file():
        raise DataError(f"{folder / TABLE_FILE} is not there: make the index again")
    index, store = FaissFlat.load(folder / INDEX_FILE), Store(folder / TABLE_FILE)
    fault = ""
    if index.dim != head.dim:
        fault = f"{INDEX_FILE} has {index.dim} dimensions and {HEAD_FILE} says {head.dim}"
    elif lost := len(np.setdiff1d(index.ids, store.ids())):
        fault = f"{lost} vectors of {INDEX_FILE} have no row in {TABLE_FILE}"
    if fault:
        store.close()
        raise DataError(f"{folder}: {fault}: make the index again")
    return head, index, store


def write_head(folder: Path, head: Head) -> None:
    """Write `index.json`."""
    write_json(folder / HEAD_FILE, head.model_dump())


def stamp(folder: Path) -> tuple[int, int]:
    """What tells one written `index.faiss` from the next."""
    facts = (folder / INDEX_FILE).stat()
    return facts.st_mtime_ns, facts.st_ino
