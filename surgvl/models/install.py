"""From the files of a published model to a model folder in the store: fetched, or brought by hand."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import command, write_json
from surgvl.models.hub import listing
from surgvl.models.originals import collect, get, missing_bytes, of_hub, readable, unpacked, wanted_files, weights_file
from surgvl.models.published import Published, published, registry
from surgvl.models.store import (
    CARD,
    WHOLE,
    alone,
    downloads,
    hashes_file,
    hub_name,
    inside,
    recorded_hashes,
    store,
    stored,
)
from surgvl.models.transfer import check_space

ADAPTERS = Path(__file__).parent / "adapters"


def check_licence(entry: Published, accepted: bool) -> None:
    """Show the licence of a model that asks for something.

    Raises:
        ConfigError: it has not been accepted.
    """
    if not entry.asks:
        return
    allowed = {"yes": "allowed", "no": "not allowed", "ask": "not clear: ask its authors"}[entry.commercial]
    print(f"{entry.title}: licence {entry.licence}; commercial use {allowed}; {entry.source}")
    if not accepted:
        raise ConfigError(
            f"{entry.name} has the licence {entry.licence}: read it, and type `{command('models fetch', entry.name)} "
            "--accept_licence` to agree"
        )


def check_family(entry: Published) -> None:
    """Refuse a model before its weights are fetched.

    Raises:
        ConfigError: no adapter reads its family.
    """
    if entry.family and not (ADAPTERS / f"{entry.family}.py").is_file():
        raise ConfigError(
            f"{entry.name} is of the family {entry.family}, which this version cannot read: update surgvl"
        )


def fetch(entry: Published, accepted: bool = False) -> Path:
    """Fetch a model into the store; one that is there already is left as it is.

    Args:
        entry: the model.
        accepted: whether its licence is accepted.

    Raises:
        ConfigError: its licence is not free and not accepted, or the disk has too little space.
        DataError: a file cannot be fetched or is not the one that was published.
        CheckpointError: the weights are not those of its family.
    """
    if (folder := stored(entry)) is not None:
        return folder
    check_family(entry)
    check_licence(entry, accepted)
    with alone(downloads(entry.name)):
        # Whoever fetched it in the meantime is done.
        if (folder := stored(entry)) is not None:
            return folder
        files = downloads(entry.name) / "files"
        hashes = {wanted.target.relative_to(files).as_posix(): get(wanted) for wanted in wanted_files(entry, files)}
        folder = _install(entry, files, hashes, accepted)
        write_json(hashes_file(entry.name), {**recorded_hashes(entry.name), **hashes})
        for spent in (files, unpacked(files)):
            shutil.rmtree(spent, ignore_errors=True)
    return folder


def fetch_named(name: str, accepted: bool = False) -> Path:
    """Fetch whatever a name stands for: a model of the registry, `hf:OWNER/NAME`, or `open_clip:ARCH@TAG`.

    Args:
        name: the name.
        accepted: whether its licence is accepted.

    Raises:
        ConfigError: there is no such model, or its licence is not accepted.
        DataError: it cannot be fetched.
        CheckpointError: the weights are not those of its family.
    """
    if name.startswith("hf:"):
        return fetch_hub(name)
    return fetch(entry_of(name), accepted)


def entry_of(name: str) -> Published:
    """The entry of a name: of the registry, or of open_clip's table.

    Raises:
        ConfigError: there is none.
    """
    if not name.startswith("open_clip:"):
        return published(name)
    arch, _, tag = name.removeprefix("open_clip:").partition("@")
    for entry in registry().values():
        if entry.arguments == {"arch": arch, "tag": tag}:
            return entry
    from surgvl.models.open_clip_tags import open_clip_entry

    return open_clip_entry(arch, tag)


def fetch_hub(text: str) -> Path:
    """Fetch a repository of the hub, or one file of it, into the store.

    Args:
        text: `OWNER/NAME[/FILE][@REVISION]`.

    Raises:
        ConfigError: not such a name, or the disk has too little space.
        DataError: it cannot be fetched.
    """
    name = hub_name(text)
    with alone(downloads(f"hf--{name.folder.name}")):
        path = name.folder / name.file
        if (name.folder / WHOLE).is_file() or (name.file and path.is_file()):
            return path
        found = listing(name.repo, name.revision, downloads(f"hf--{name.folder.name}"))
        chosen = [name.file] if name.file else list(readable(found))
        if not set(chosen) <= set(found.files):
            raise CheckpointError(
                f"hf:{name.repo} has no {name.file}: its files are {', '.join(list(found.files)[:20])}"
            )
        wanted = [of_hub(name, file, found, inside(name.folder, file), {}) for file in chosen]
        check_space(store(), missing_bytes(wanted))
        hashes = {each.target.relative_to(name.folder).as_posix(): get(each) for each in wanted}
        if not name.file:
            write_json(name.folder / WHOLE, {"repo": name.repo, "commit": found.commit, "sha256": hashes})
    return path


def add(entry: Published, given: Path, accepted: bool = False) -> Path:
    """Make a model folder of files that one has; they are left as they are.

    Args:
        entry: the model.
        given: its weights file, its archive, or a folder with all of its files. Other files that the model needs, such
            as its vocabulary, are looked for next to it.
        accepted: whether its licence is accepted.

    Raises:
        ConfigError: its licence is not free and not accepted, or the disk has too little space.
        DataError: the archive cannot be unpacked.
        CheckpointError: a file is missing, is not the one that was published, or is not of its family.
    """
    if entry.shipped:
        raise ConfigError(f"{entry.name} is part of surgvl: there is nothing to add")
    check_family(entry)
    check_licence(entry, accepted)
    if not given.exists():
        raise CheckpointError(f"{given} does not exist: give a file or folder of {entry.name}")
    with alone(downloads(entry.name)), tempfile.TemporaryDirectory(dir=downloads(entry.name)) as temporary:
        files = Path(temporary) / "files"
        files.mkdir()
        hashes = collect(entry, given.resolve(), files)
        folder = _install(entry, files, hashes, accepted)
        write_json(hashes_file(entry.name), {**recorded_hashes(entry.name), **hashes})
    return folder


def _install(entry: Published, files: Path, hashes: Mapping[str, str], accepted: bool) -> Path:
    """Convert, and put the model folder into its place as a whole."""
    target = store() / entry.name
    with tempfile.TemporaryDirectory(dir=store(), prefix=f".{entry.name}-") as temporary:
        folder = Path(temporary) / "model"
        folder.mkdir()
        if entry.family:
            from surgvl.models.convert_published import convert

            convert(entry, weights_file(entry, files), files, folder)
            for path in [each for each in folder.rglob("*") if each.is_symlink()]:
                # A family may link to the files instead of copying them; fetched ones are about to be deleted.
                if (fetched := path.resolve()).is_relative_to(files.resolve()):
                    path.unlink()
                    _link(fetched, path)
        else:
            for path in sorted(files.rglob("*")):
                if path.is_file():
                    place = folder / path.relative_to(files)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _link(path, place)
        write_json(folder / CARD, card(entry, hashes, accepted))
        if target.exists():
            target.rename(Path(temporary) / "before")
        folder.rename(target)
    return target


def _link(path: Path, place: Path) -> None:
    """Put a file into the model folder: a second name of what was fetched, a link to what somebody has."""
    if path.is_symlink():
        place.symlink_to(path.resolve())
        return
    try:
        place.hardlink_to(path)
    except OSError:
        # Not all file systems have hard links.
        path.rename(place)


def card(entry: Published, hashes: Mapping[str, str], accepted: bool) -> dict[str, Any]:
    """`model_card.json`."""
    names = ("name", "title", "purpose", "licence", "commercial", "source", "paper", "sees", "note")
    values = entry.model_dump(include=set(names))
    today = time.strftime("%Y-%m-%d")
    return {
        **{name: values[name] for name in names},
        "trained_on": [each.model_dump(exclude_defaults=True) for each in entry.trained_on],
        "sha256": dict(hashes),
        "accepted": f"{entry.licence}, on {today}, by --accept_licence" if entry.asks and accepted else "",
    }
