"""The commands `models list`, `models info`, `models fetch` and `models add`; none of them needs torch to start."""

from pathlib import Path

from surgvl.core.files import command
from surgvl.core.plurals import data_size
from surgvl.core.tables import plain_table
from surgvl.models import install
from surgvl.models.published import Published, published, registry
from surgvl.models.schema import read_checked
from surgvl.models.store import CARD, Card, hashes_file, not_here, recorded_hashes, store, stored


def models_list() -> None:
    """List the models that are known by name: what each is for, its size and licence, and whether it is here."""
    entries = registry()
    rows: list[list[object]] = [["name", "here", "size", "commercial", "licence", "from"]]
    for name, entry in entries.items():
        folder = stored(entry)
        where = (entry.source or "part of surgvl").removeprefix("https://").replace("huggingface.co/", "hf:")
        rows.append([name, "yes" if folder else "no", _size(entry, folder), entry.commercial, entry.licence, where])
    head, *lines = plain_table(rows, indent="").splitlines()
    print(head)
    for line, entry in zip(lines, entries.values(), strict=True):
        print(f"{line}\n    {entry.purpose}")
    print("\ncommercial: whether the licence allows commercial use; ask: it does not say clearly, so ask its authors")
    print(f"models here are in {store()}")
    print("next: surgvl models info NAME, surgvl models fetch NAME")


def models_info(name: str) -> None:
    """Show all that is known of a published model: licence, files and hashes, what it sees, what it was trained on.

    Args:
        name: a name of `surgvl models list`.
    """
    entry = published(name)
    folder = stored(entry)
    lines = {
        "model": f"{entry.title} ({entry.kind})",
        "for": entry.purpose,
        "note": entry.note,
        "licence": f"{entry.licence}; commercial use: {entry.commercial}",
        "gated": "yes: the hub asks for an account that has accepted its terms, and HF_TOKEN" if entry.gated else "",
        "page": entry.source or "",
        "paper": entry.paper or "",
        "size": _size(entry, folder),
        "sees": entry.sees or "",
        "frames": ", ".join(f"{key} {value}" for key, value in (entry.preprocess or {}).items())
        or ("" if entry.shipped or entry.kind == "chat" else "as its own files say"),
        "family": entry.family,
        "arguments": ", ".join(f"{key} {value}" for key, value in entry.arguments.items()),
        "trained on": _training(entry),
        "here": str(folder or "no"),
    }
    if folder is not None and (folder / CARD).is_file():
        lines["accepted"] = read_checked(folder / CARD, Card).accepted
    wide = max(map(len, lines))
    for label, value in lines.items():
        if value:
            print(f"{label:{wide}}  " + value.replace("\n", "\n" + " " * (wide + 2)))
    _show_files(entry)
    if folder is None:
        print(f"\n{not_here(entry)}")
    else:
        print(f"\nnext: {command('models check', name)}")


def models_fetch(name: str, accept_licence: bool = False) -> None:
    """Fetch a published model into the store; an interrupted fetch continues where it stopped.

    Args:
        name: a name of `surgvl models list`, open_clip:ARCH@TAG for any weights that open_clip knows, or hf:OWNER/NAME
            for any folder of the Hugging Face hub.
        accept_licence: agree to the model's licence, which is shown; a free licence needs no agreement.
    """
    _ready(name, install.fetch_named(name, accept_licence))


def models_add(name: str, file: Path, accept_licence: bool = False) -> None:
    """Add weights of a published model that you have, such as from a machine with a network.

    Args:
        name: a name of `surgvl models list`.
        file: its weights file or archive, or a folder with all files that `surgvl models info` lists.
        accept_licence: agree to the model's licence, which is shown; a free licence needs no agreement.
    """
    _ready(name, install.add(install.entry_of(name), file, accept_licence))


def _ready(name: str, folder: Path) -> None:
    print(f"{name} is in {folder}")
    if name in registry():
        print(f"next: {command('models check', name)}")


def _show_files(entry: Published) -> None:
    """The files with what is known of their hashes."""
    known = recorded_hashes(entry.name)
    for file in entry.files:
        size = f", {file.size:,} bytes" if file.size else ""
        print(f"\n{file.name} of {file.where}{size}")
        if file.sha256:
            print(f"  SHA-256 {file.sha256}")
        elif found := {name: sha256 for name, sha256 in known.items() if Path(name).match(file.name)}:
            print("\n".join(f"  SHA-256 {sha256} {name}, as first fetched" for name, sha256 in found.items()))
        elif file.hub:
            print("  SHA-256 not recorded yet: that which the hub states is checked, and kept")
        else:
            print(f"  SHA-256 not published: that of the first fetch is kept in {hashes_file(entry.name)}")


def _training(entry: Published) -> str:
    """What a model was trained on, with who says so."""
    found: dict[str, list[str]] = {}
    for each in entry.trained_on:
        videos = ", ".join(each.videos) or f"nobody lists its videos ({each.unknown})"
        found.setdefault(f"{videos}; source: {each.source}", []).append(each.data_set)
    return "\n".join(f"{', '.join(names)}: {videos}" for videos, names in found.items())


def _size(entry: Published, folder: Path | None) -> str:
    """Bytes on disk or to fetch, else the number of parameters."""
    if folder is not None:
        return data_size(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    if entry.size is not None:
        return data_size(entry.size)
    return f"{entry.num_parameters / 1e6:.0f} M parameters" if entry.num_parameters else "not known"
