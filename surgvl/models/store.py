"""The store of published models: one folder of ordinary model folders, `$SURGVL_MODELS` or `models` in the cache.

    STORE/NAME/             a model folder with `model_card.json`
    STORE/hf/OWNER--NAME/   a repository of the Hugging Face hub
    STORE/.downloads/NAME/  what is being fetched
    STORE/.hashes/NAME.json SHA-256 of every file as it was first fetched; later ones must equal it

Nothing here uses the network or imports torch.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import command
from surgvl.core.locks import locked
from surgvl.models.published import Published, registry
from surgvl.models.schema import read_checked
from surgvl.models.shipped import cache, unpack

CARD = "model_card.json"
WHOLE = "hub.json"
LONG_S = 7 * 86400.0
_FETCHING: ContextVar[bool] = ContextVar("fetching", default=False)


class Card(BaseModel):
    """`model_card.json`: where a model of the store comes from, and what may be done with it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, Field(strict=True)]
    licence: Annotated[str, Field(strict=True)]
    commercial: Annotated[str, Field(strict=True)] = "ask"
    source: str | None = None
    sha256: dict[str, str] = {}
    accepted: str = ""


class HubName(BaseModel):
    """`OWNER/NAME[/FILE][@REVISION]`: a repository of the hub, or a file of it; the oldest have no owner."""

    model_config = ConfigDict(frozen=True)

    repo: str
    file: str = ""
    revision: str = "main"

    @property
    def text(self) -> str:
        """As it is typed, without `hf:`."""
        name = f"{self.repo}/{self.file}" if self.file else self.repo
        return name if self.revision == "main" else f"{name}@{self.revision}"

    @property
    def folder(self) -> Path:
        """Its place in the store."""
        name = self.repo.replace("/", "--")
        return store() / "hf" / (name if self.revision == "main" else f"{name}@{self.revision.replace('/', '--')}")


def store() -> Path:
    """The folder of published models."""
    chosen = os.environ.get("SURGVL_MODELS")
    return Path(chosen) if chosen else cache() / "models"


def downloads(name: str) -> Path:
    """The folder of what is being fetched."""
    return store() / ".downloads" / name.replace("/", "--")


def hashes_file(name: str) -> Path:
    """The record of hashes."""
    return store() / ".hashes" / f"{name.replace('/', '--')}.json"


def recorded_hashes(name: str) -> dict[str, str]:
    """SHA-256 of a model's files as they were first fetched; empty before.

    Raises:
        CheckpointError: the record is damaged.
    """
    path = hashes_file(name)
    return read_checked(path, dict[str, str]) if path.is_file() else {}


@contextmanager
def with_network(allowed: bool = True) -> Iterator[None]:
    """A block in which models that are not on this machine are fetched when they are asked for (`--fetch`).

    Args:
        allowed: if false, the block changes nothing.
    """
    token = _FETCHING.set(allowed or _FETCHING.get())
    try:
        yield
    finally:
        _FETCHING.reset(token)


def fetching() -> bool:
    """Whether what is missing may be fetched."""
    return _FETCHING.get()


def stored(entry: Published) -> Path | None:
    """The model folder of a published model, if it is on this machine."""
    if entry.shipped:
        return unpack(entry.name)
    folder = store() / entry.name
    return folder if (folder / CARD).is_file() else None


def require_stored(name: str) -> Path:
    """The model folder of a published name.

    Raises:
        CheckpointError: it is not on this machine; the message says how to get it, with a network and without.
    """
    entry = registry()[name]
    if (folder := stored(entry)) is not None:
        return folder
    if fetching():
        from surgvl.models.install import fetch

        return fetch(entry)
    raise CheckpointError(not_here(entry))


def not_here(entry: Published) -> str:
    """What to type where a model is missing, with a network and without."""
    fetch = command("models fetch", entry.name) + (" --accept_licence" if entry.asks else "")
    files: dict[str, list[str]] = {}
    for file in entry.files:
        files.setdefault(file.where, []).append(file.name)
    what = " and ".join(f"{', '.join(names)} of {where}" for where, names in files.items())
    given = "FILE" if len(entry.files) == 1 and not entry.files[0].several else "FOLDER"
    return (
        f"{entry.name} is not on this machine: `{fetch}` fetches it; without a network, bring {what} here and type "
        f"`surgvl models add {entry.name} {given}`"
    )


def hub_name(text: str) -> HubName:
    """Read `[hf:]OWNER/NAME[/FILE][@REVISION]`.

    Raises:
        ConfigError: it is not such a name.
    """
    found = re.fullmatch(r"((?:[\w.-]+/)?[\w.-]+)(?:/([\w./-]+))?(?:@([\w./-]+))?", text.removeprefix("hf:"))
    if not found or ".." in text:
        raise ConfigError(f"{text!r} is not a name of the hub: give OWNER/NAME, OWNER/NAME/FILE or OWNER/NAME@REVISION")
    return HubName(repo=found[1], file=found[2] or "", revision=found[3] or "main")


def stored_hub(text: str) -> Path:
    """The folder or file of a name of the hub, in the store or in the cache of huggingface_hub; a path as it is.

    Raises:
        ConfigError: it is not such a name.
        CheckpointError: it is not on this machine; the message says how to get it.
    """
    if (own := text.removeprefix("hf:")) and Path(own).exists():
        return Path(own)
    wanted = hub_name(text)
    path = wanted.folder / wanted.file
    if path.is_file() if wanted.file else (path / WHOLE).is_file():
        return path
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    if wanted.file:
        if isinstance(found := try_to_load_from_cache(wanted.repo, wanted.file, revision=wanted.revision), str):
            return Path(found)
    else:
        try:
            return Path(snapshot_download(wanted.repo, revision=wanted.revision, local_files_only=True))
        except LocalEntryNotFoundError:
            pass
    if fetching():
        from surgvl.models.install import fetch_hub

        return fetch_hub(text)
    raise CheckpointError(
        f"hf:{wanted.text} is not on this machine: `surgvl models fetch hf:{wanted.text}` fetches it; without a "
        "network, bring it here and give its folder or file"
    )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one that fetches a model; who comes second is told so, and waits.

    Raises:
        ConfigError: the folder cannot be locked.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except ConfigError as busy:
            print(f"{str(busy).partition(': wait')[0]}; waiting")
            stack.enter_context(locked(folder, LONG_S))
        yield


def inside(folder: Path, name: str) -> Path:
    """The path of a file that another machine has named.

    Raises:
        CheckpointError: it lies outside of the folder.
    """
    path = folder / name
    if ".." in path.parts or not path.is_relative_to(folder) or "\0" in name or "\\" in name:
        raise CheckpointError(f"{name[:80]!r} leads out of its folder: it is not fetched")
    return path
