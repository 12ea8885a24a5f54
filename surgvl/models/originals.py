"""The files of a published model as their authors have them: what to fetch, what somebody has, and their hashes."""

import fnmatch
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from surgvl.core.errors import CheckpointError
from surgvl.core.plurals import plural
from surgvl.models.hub import Listing, file_url, headers, listing, refused
from surgvl.models.published import ARCHIVE, WEIGHTS, Published
from surgvl.models.store import HubName, downloads, hashes_file, inside, recorded_hashes, store
from surgvl.models.transfer import Wanted, check_space, transfer
from surgvl.models.unzip import unzip

# What transformers and open_clip read of a repository, without code and pickles.
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


def wanted_files(entry: Published, files: Path) -> list[Wanted]:
    """The files of a model, those that patterns name included; known hashes are those of the registry, of the first
    fetch, or of the hub, in this order.

    Raises:
        ConfigError: the disk has too little space for them.
    """
    known, found = recorded_hashes(entry.name), list[Wanted]()
    listings: dict[tuple[str, str], Listing] = {}
    for file in entry.files:
        if file.hub is None:
            sha256, source = file.sha256 or known.get(file.name, ""), _source(file.sha256, entry.name)
            target = inside(files, file.name)
            url = str(file.url)
            found.append(Wanted(url=url, target=target, sha256=sha256, known_from=source, size=file.size))
            continue
        key = (file.hub, file.revision)
        if key not in listings:
            listings[key] = listing(*key, downloads(entry.name))
        there = listings[key]
        names = fnmatch.filter(there.files, file.name) or fnmatch.filter(there.files, file.otherwise or "")
        if not names and (file == entry.files[0] or not file.several):
            raise CheckpointError(f"hf:{file.hub} has no {file.name} any more: its files are {', '.join(there.files)}")
        own = {file.name: file.sha256} if file.sha256 else {}
        hub = HubName(repo=file.hub, revision=file.revision)
        found += [of_hub(hub, name, there, inside(files, name), {**known, **own}, entry.name) for name in names]
    # The weights are written a second time, when they are converted.
    check_space(store(), missing_bytes(found) * (2 if entry.family else 1))
    return found


def _source(published: str | None, name: str) -> str:
    return "the registry" if published else f"the first fetch ({hashes_file(name)})"


def of_hub(hub: HubName, file: str, there: Listing, target: Path, known: Mapping[str, str], name: str = "") -> Wanted:
    """A file of the hub at the listed commit, so that all files are of one commit."""
    size, sha256 = there.files[file]
    return Wanted(
        url=file_url(hub.repo, file, there.commit),
        target=target,
        sha256=known.get(file) or sha256,
        known_from=_source(None, name) if known.get(file) else "the hub",
        size=size,
        headers=headers(),
        refused=refused(hub.repo),
    )


def readable(found: Listing) -> list[str]:
    """Files of a repository that are worth fetching: the weights as safetensors if they are there, else as pickles."""
    names = [name for pattern in HUB_FILES for name in fnmatch.filter(found.files, pattern) if "/" not in name]
    safe = any(name.endswith(".safetensors") for name in names)
    return names if safe else [*names, *(name for name in fnmatch.filter(found.files, "*.bin") if "/" not in name)]


def unpacked(files: Path) -> Path:
    """The folder of what was in an archive among the files."""
    return files.parent / "unpacked"


def missing_bytes(wanted: list[Wanted]) -> int:
    """Bytes that are still to be fetched, as far as they are known."""
    return sum(each.size or 0 for each in wanted if not each.target.exists())


def get(wanted: Wanted) -> str:
    """Fetch a file unless an earlier try has; its SHA-256."""
    if wanted.target.is_file():
        found = sha256_of(wanted.target)
        if wanted.sha256 in ("", found):
            return found
        wanted.target.unlink()
    return transfer(wanted)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def collect(entry: Published, given: Path, files: Path) -> dict[str, str]:
    """Link a model's files, under their published names, into a folder; the hashes of those whose name is one file's.

    Raises:
        CheckpointError: one is missing, or differs from the published one.
    """
    home = given if given.is_dir() else given.parent
    if given.is_dir() and entry.files[0].name.endswith(ARCHIVE) and not (home / entry.files[0].name).is_file():
        # An archive that somebody has unpacked.
        unzipped = [path for path in sorted(home.iterdir()) if path.suffix in WEIGHTS]
        given = unzipped[0] if len(unzipped) == 1 else given
    known, hashes = recorded_hashes(entry.name), dict[str, str]()
    for place, file in enumerate(entry.files):
        if place == 0 and given.is_file():
            # The main file may have any name.
            archive = file.name.endswith(ARCHIVE) and given.suffix != ARCHIVE
            names = {Path(file.name).with_suffix(given.suffix).name if archive else file.name: given}
        else:
            found = [path for path in home.glob(file.name) if path.is_file()]
            found += [path for path in (home / (file.otherwise or file.name),) if not found and path.is_file()]
            names = {path.relative_to(home).as_posix(): path for path in found}
        if not names and (place == 0 or not file.several):
            raise CheckpointError(f"{home} lacks {file.name} of {file.where}, which {entry.name} needs: put it there")
        for name, path in names.items():
            hashes[name] = sha256_of(path)
            wanted = (file.sha256 if name == file.name else None) or known.get(name)
            if wanted not in (None, hashes[name]):
                raise CheckpointError(
                    f"{path} has SHA-256 {hashes[name][:16]}, but {wanted[:16]} by "
                    f"{_source(file.sha256, entry.name)}: it is another file, or damaged"
                )
            link = inside(files, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return hashes


def weights_file(entry: Published, files: Path) -> Path:
    """The weights of a model, unpacked if they came in an archive.

    Raises:
        DataError: the archive cannot be unpacked.
        CheckpointError: it holds no weights file, or several.
    """
    first = entry.files[0]
    names = (first.name, first.otherwise or first.name, f"{Path(first.name).stem}.*")
    main = next(path for name in names for path in sorted(files.glob(name)))
    if main.suffix != ARCHIVE:
        return main
    shutil.rmtree(unpacked(files), ignore_errors=True)
    found = [path for path in unzip(main, unpacked(files)) if path.suffix in WEIGHTS and "__MACOSX" not in path.parts]
    if len(found) != 1:
        raise CheckpointError(
            f"{main} holds {plural(len(found), 'weights file')} ({', '.join(WEIGHTS)}), and should hold one: give the "
            "weights file itself"
        )
    return found[0]
