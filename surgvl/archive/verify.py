"""What of an archive is damaged or missing; the index and the manifest are made again from what is whole."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from surgvl.archive.creating import MANIFEST, SPACES
from surgvl.archive.opened import OpenArchive
from surgvl.archive.recording_table import FileRow
from surgvl.archive.space import KEPT, STOPPED, Space, unique_spans
from surgvl.archive.space_writer import COARSE, SpaceWriter
from surgvl.core.errors import DataError
from surgvl.core.files import clear_temporary, read_json, size_of, write_json
from surgvl.core.locks import locked
from surgvl.core.plurals import plural
from surgvl.data.manifest import Manifest
from surgvl.embed.recordings import CONTENTS, identity
from surgvl.embed.vectors import read_shard
from surgvl.retrieval.clip_index import ClipIndex

# Vectors of the index may be compressed: this is the least cosine with those that were written.
_LEAST = 0.8
_SAMPLE = 64
AGAIN = "`surgvl archive update` embeds it again"


def verify(archive: OpenArchive, mend: bool, wait_s: float) -> list[str]:
    """Check an archive.

    Args:
        archive: the archive.
        mend: make the index anew from the vectors, and drop vectors that cannot be read, so that `update` embeds those
            recordings again. Files of recordings are never touched.
        wait_s: seconds to wait for another writer.

    Returns:
        One line for each thing that was wrong, and what was or can be done about it.

    Raises:
        ConfigError: another process writes.
        DataError: `vectors.json` is missing or broken, which cannot be mended.
    """
    with locked(archive.folder, wait_s):
        if mend:
            clear_temporary(archive.folder)
        lines = archive.catalogue.check()
        rows = archive.catalogue.rows()
        for row in rows:
            lines += _check_file(row, archive.absolute(row.path))
        space = archive.space
        lines += _unused_spaces(archive)
        if problem := _contents_problem(space, rows):
            lines.append(f"{CONTENTS}: {problem}: {_remedy(mend, 'made again from the catalogue')}")
            if mend:
                write_json(space.vectors / CONTENTS, _contents(rows))
        bad = _broken_shards(space)
        lines += [
            f"{line}: {_remedy(mend, 'dropped')}; `surgvl archive update` embeds it again" for line in bad.values()
        ]
        if mend:
            for name in bad:
                for suffix in (".safetensors", ".parquet"):
                    (space.vectors / name).with_suffix(suffix).unlink(missing_ok=True)
        lines += _check_texts(space)
        if problem := _index_problem(space, set(bad)):
            lines.append(f"index: {problem}: {_remedy(mend, 'made again from the vectors')}")
            if mend:
                shutil.rmtree(space.index_folder, ignore_errors=True)
        if problem := _manifest_problem(archive):
            lines.append(f"manifest: {problem}: {_remedy(mend, 'written again')}")
            if mend:
                shutil.rmtree(archive.folder / MANIFEST, ignore_errors=True)
        if mend:
            with SpaceWriter(space) as writer:
                before = {row.id: row.state for row in rows}
                archive.settle(writer)
            for row in archive.catalogue.rows():
                if row.state == "waiting" and before[row.id] in ("embedded", "coarse"):
                    lines.append(
                        f"recording {row.id!r} has no vectors any more: `surgvl archive update` embeds it again"
                    )
        return lines


def _remedy(mend: bool, done: str) -> str:
    return done if mend else f"with --mend it is {done}"


def _check_file(row: FileRow, path: Path) -> list[str]:
    start = f"recording {row.id!r}: "
    if not path.exists():
        return [f"{start}{path} is gone: restore it, add it from where it is now, or remove the recording"]
    if row.state == "failed":
        return [f"{start}{row.problem}"]
    try:
        changed = identity(path) != row.content
    except DataError as error:
        return [f"{start}{error}"]
    return [f"{start}{path} has changed: {AGAIN}"] if changed else []


def _unused_spaces(archive: OpenArchive) -> list[str]:
    """Vectors of other models that nobody asked to keep: of `reindex`, killed before or after it used the new ones.

    One that was stopped on purpose is not damage: the next goes on there.
    """
    lines = []
    for folder in sorted((archive.folder / SPACES).iterdir()):
        is_meant = any((folder / name).exists() for name in (KEPT, STOPPED))
        if folder.name == archive.space.folder.name or not folder.is_dir() or is_meant:
            continue
        try:
            model = Space(folder).meta.model
            remedy = f"`surgvl archive reindex {archive.folder} --model {model}` completes and uses them, or delete it"
        except DataError:
            model, remedy = "no known model", "delete it"
        size = size_of(folder.rglob("*")) / 1e6
        lines.append(f"{SPACES}/{folder.name} has {size:.1f} MB of {model} that are not used: {remedy}")
    return lines


def _contents_problem(space: Space, rows: Sequence[FileRow]) -> str:
    """What is wrong with the list of what each shard was made of; empty if nothing is."""
    try:
        known = read_json(space.vectors / CONTENTS) if (space.vectors / CONTENTS).exists() else None
    except (DataError, ValueError) as error:
        return str(error)
    if known is None:
        return "it is missing" if any(_contents(rows).values()) else ""
    is_list = isinstance(known, dict) and all(isinstance(value, str) for value in known.values())
    return "" if is_list else "it is not a table of contents by recording"


def _contents(rows: Sequence[FileRow]) -> dict[str, str]:
    """The content of each recording's vectors, as the states of the catalogue have it."""
    starts = {"embedded": "", "coarse": COARSE}
    return {row.id: starts[row.state] + row.content for row in rows if row.state in starts}


def _broken_shards(space: Space) -> dict[str, str]:
    """Name of each shard that cannot be read -> why."""
    found = {}
    for name in sorted({path.stem for path in space.vectors.glob("shard-*")}):
        try:
            ids = read_shard(space.vectors, int(name.rpartition("-")[2]), space.meta.dim)[1]
            if len(set(ids)) != 1:
                found[name] = f"vectors/{name} holds {plural(len(set(ids)), 'recording')}, not one"
        except DataError as error:
            # Without the folder, which the archive's own lines do not repeat, and without the remedy, which is another.
            found[name] = f"vectors/{str(error).removeprefix(f'{space.vectors}/').rpartition(': ')[0]}"
    return found


def _check_texts(space: Space) -> list[str]:
    try:
        texts = space.texts
    except DataError as error:
        return [f"vectors of sentences: {error}; `surgvl archive reindex` makes them again"]
    lost = set(space.meta.prompt_sets) - set(texts.prompt_sets if texts else [])
    return [
        f"vectors of prompt set {name!r} are gone: `surgvl archive reindex` makes them again" for name in sorted(lost)
    ]


def _index_problem(space: Space, bad: set[str]) -> str:
    """What is wrong with the index; empty if nothing is. Recordings of broken shards are not compared."""
    try:
        with ClipIndex.open(space.index_folder) as index:
            if index.model_hash != space.meta.model_hash:
                return f"it is of model {index.model_hash}, the vectors are of {space.meta.model_hash}"
            counts = index.counts("video_id")
            for id, number in space.shard_numbers().items():
                if f"shard-{number:05d}" in bad:
                    counts.pop(id, None)
                    continue
                found, start_s, end_s = space.vectors_of(id)
                kept = unique_spans(start_s, end_s)
                if counts.pop(id, 0) != len(kept):
                    return f"it lacks the vectors of recording {id!r}"
                for at in kept[:: max(1, len(kept) // _SAMPLE)]:
                    there, *_ = index.vector_at(id, (start_s[at] + end_s[at]) / 2)
                    if float(there @ found[at]) < _LEAST * float(np.linalg.norm(found[at])):
                        return f"a vector of recording {id!r} at {start_s[at]:.1f} s is not the one that was stored"
            return f"it has {plural(len(counts), 'recording')} without stored vectors" if counts else ""
    except DataError as error:
        return str(error)


def _manifest_problem(archive: OpenArchive) -> str:
    try:
        there = Manifest.load(archive.folder / MANIFEST)
    except DataError as error:
        return str(error)
    # Labels that were set since the last change of recordings are not damage.
    return "" if there.video_table.equals(archive.manifest().video_table) else "it lists other recordings"
