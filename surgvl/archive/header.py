"""`archive.json`: what an archive is called, and which model's space it uses."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surgvl.archive import catalogue
from surgvl.core.errors import DataError
from surgvl.core.files import read_json, write_json

FILE = "archive.json"
VERSION = 1


class Header(BaseModel):
    """The fields of `archive.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: int = VERSION
    name: str = Field(description="name of the archive on the page")
    created_s: float = Field(description="seconds since 1970")
    space: str = Field(description="folder below spaces/ that is used")
    model: str = Field(description="model of that space: a name, or a folder as FileRow.path has a file")
    chat: str = Field(default="", description="model that answers questions, likewise; may be empty")


def read_header(folder: Path) -> Header:
    """The header of an archive.

    Raises:
        DataError: the folder is not an archive, or one of a newer surgvl.
    """
    if not (folder / FILE).is_file():
        if any((folder / name).exists() for name in (catalogue.FILE, "spaces")):
            raise DataError(lost(folder))
        raise DataError(f"{folder} is not an archive (no {FILE}): make one with `surgvl archive create {folder}`")
    try:
        header = Header.model_validate(read_json(folder / FILE))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / FILE}: {where}: {first['msg']}: correct it, or restore a copy") from error
    if header.version > VERSION:
        raise DataError(f"{folder} has archive version {header.version}, this surgvl reads {VERSION}: update surgvl")
    return header


def lost(folder: Path) -> str:
    """What to say of an archive without `archive.json`."""
    if not (folder / catalogue.FILE).is_file():
        return f"{folder} holds vectors, but neither {FILE} nor {catalogue.FILE}: restore copies of both"
    return (
        f"{folder} holds recordings but no {FILE}: restore a copy of it, or `surgvl archive verify {folder}` makes it "
        "again"
    )


def write_header(folder: Path, header: Header) -> None:
    """Write `archive.json`, atomically."""
    write_json(folder / FILE, header.model_dump())
