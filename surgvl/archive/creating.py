"""Making an archive; `archive.json` is written last, so that what a killed process began may be made again.

While it is made, the folder has a file `.making`. Without that, a folder that holds recordings but no `archive.json` is
an archive that has lost it: nothing in it is touched.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.archive import catalogue, header
from surgvl.archive.derived import QUESTIONS
from surgvl.archive.recording_table import stored_path
from surgvl.archive.space import Space
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import clear_temporary, durable
from surgvl.core.locks import locked
from surgvl.models.model_info import find_model, model_facts, reads_text, resolve_model
from surgvl.prompts import load_sets

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder

SPACES, MANIFEST, THUMBNAILS = "spaces", "manifest", "thumbnails"
MAKING = ".making"


def make_archive(
    folder: Path,
    model: str | Path,
    name: str,
    chat: str,
    stride_s: float | None,
    prompt_sets: Sequence[str] | None,
    device: str,
    load: bool,
) -> "Embedder | None":
    """Make an empty archive; see `Archive.create`. Returns its model if it is loaded.

    Raises:
        ConfigError: the folder is not empty, or is being written.
        DataError: it is an archive that has lost its `archive.json`.
        CheckpointError: there is no such model, or none that answers questions.
    """
    sets, embedder = load_sets(prompt_sets), None
    _check_chat(chat)
    with new_folder(folder) as home:
        facts, is_text = model_facts(Path(model), stride_s), reads_text(Path(model))
        if load:
            # Imports torch, which reading an archive must not wait for.
            from surgvl.embed.embedder import local_embedder

            embedder = local_embedder(Path(model), stride_s, None, device)
        space = facts.hash[:12]
        encode = embedder.texts if embedder is not None else None
        Space.create(home / SPACES / space, facts, sets if is_text else [], encode)
        write_new(home, name, space, model, chat)
    return embedder


def write_new(home: Path, name: str, space: str, model: str | Path, chat: str | Path) -> None:
    """Write the catalogue and the header of a new archive.

    Args:
        home: its folder.
        name: its name on the page; the folder's name if empty.
        space: folder below spaces/.
        model: folder or name of its model.
        chat: that of the model that answers questions; may be empty.
    """
    catalogue.Catalogue(home / catalogue.FILE).close()
    # Before the header: an archive that loses that later is never taken for one that was not finished.
    (home / MAKING).unlink(missing_ok=True)
    head = header.Header(
        name=name.strip() or home.name,
        created_s=time.time(),
        space=space,
        model=stored_model(model, home),
        chat=stored_model(chat, home) if chat else "",
    )
    header.write_header(home, head)


def set_header(home: Path, name: str | None, chat: str | Path | None, wait_s: float) -> None:
    """Change the header of an archive; see `Archive.set`."""
    now: dict[str, str] = {}
    if name is not None:
        now["name"] = name.strip() or home.name
    if chat is not None:
        now["chat"] = stored_model(chat, home) if chat else ""
        _check_chat(chat)
    with locked(home, wait_s), durable():
        header.write_header(home, header.read_header(home).model_copy(update=now))


def _check_chat(chat: str | Path) -> None:
    """Check that there is a model of this name; an empty one stands for none.

    Raises:
        CheckpointError: there is not.
    """
    if chat:
        find_model(resolve_model(chat))


def stored_model(model: str | Path, archive: Path) -> str:
    """A model as `archive.json` has it: its folder if it is one, else its name."""
    return stored_path(Path(model), archive) if Path(model).exists() else str(model)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """The lock of a folder in which an archive is made.

    Raises:
        ConfigError: it holds an archive or files of something else, or another process writes.
        DataError: it is an archive that has lost its `archive.json`.
    """
    home = folder.resolve()
    if home.is_file():
        raise ConfigError(f"{folder} is a file: give a folder")
    with locked(home), durable():
        if (home / header.FILE).exists():
            raise ConfigError(f"{folder} is an archive already: add to it with `surgvl archive add {folder} FILES`")
        files = (QUESTIONS, *(f"{catalogue.FILE}{end}" for end in ("", "-wal", "-shm")))
        ours = (SPACES, MANIFEST, THUMBNAILS, *files)
        if others := [path.name for path in home.iterdir() if path.name not in ours and not path.name.startswith(".")]:
            raise ConfigError(f"{folder} is not empty (it holds {others[0]}): give a new folder")
        if not (home / MAKING).exists():
            if _holds_recordings(home):
                raise DataError(header.lost(folder))
            (home / MAKING).touch()
        for name in files:
            (home / name).unlink(missing_ok=True)
        clear_temporary(home)
        yield home


def _holds_recordings(home: Path) -> bool:
    """Whether a folder has vectors, or a catalogue with recordings.

    Raises:
        DataError: its catalogue cannot be read.
    """
    path = home / catalogue.FILE
    if any(home.glob(f"{SPACES}/*/vectors/shard-*")):
        return True
    if not path.is_file() or not path.stat().st_size:
        return False
    with contextlib.closing(catalogue.Catalogue(path)) as found:
        return bool(found.rows())
