"""Adding recordings to an archive, and embedding what is new or has changed.

Every file is registered first, so that all of them are seen at once; then one after the other is embedded and indexed.
A file is known by the hash of its content, wherever it lies and whatever it is called.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from surgvl import video
from surgvl.archive.meter import Meter, Stop, Stopped, Tick
from surgvl.archive.opened import OpenArchive
from surgvl.archive.recording_table import ORIGIN, FileRow, stored_path
from surgvl.archive.records import Report
from surgvl.archive.space_writer import SpaceWriter
from surgvl.core.errors import ConfigError, DataError, Unreadable
from surgvl.embed.recordings import find_videos, identity, name_files


@dataclass
class _Found:
    """What `Report` says, while it is found out."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    copies: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    stopped: bool = False

    def fail(self, id: str, path: Path, line: str) -> None:
        """A registered file cannot be read."""
        self.failed.add(id)
        self.aside[str(path)] = line

    def report(self) -> Report:
        unchanged = [id for id in self.unchanged if id not in self.embedded]
        known = [id for id in self.embedded if id in self.unchanged]
        lists = (self.added, self.updated, self.moved, unchanged, known)
        added, updated, moved, same, embedded = (tuple(id for id in ids if id not in self.failed) for ids in lists)
        return Report(added, updated, moved, same, dict(self.copies), dict(self.aside), self.stopped, embedded)


def add(archive: OpenArchive, paths: list[Path], tick: Tick, should_stop: Stop, coarse: bool, wait_s: float) -> Report:
    """Add video files and those in folders at any depth.

    Args:
        archive: the archive.
        paths: files and folders.
        tick: called with how far it is.
        should_stop: asked often; what is done by then stays, and the next `add` or `update` goes on.
        coarse: first embed a few clips of each, so that all can be searched soon.
        wait_s: seconds to wait for another writer.

    Returns:
        What was done. Files that cannot be read are set aside; they have a row in state `failed`.

    Raises:
        ConfigError: there is no video, or another process writes.
    """
    files, _, problems = find_videos(paths)
    if not files:
        where = ", ".join(map(str, paths)) or "(nothing)"
        raise ConfigError("; ".join([f"no video below {where}: give files or a folder of them", *problems]))
    found = _Found(aside={line.partition(": ")[0]: line for line in problems})
    with archive.writing(wait_s, should_stop) as writer:
        ids = _register(archive, files, found)
        _embed(archive, writer, ids, found, tick, should_stop, coarse)
    return found.report()


def update(archive: OpenArchive, tick: Tick, should_stop: Stop, coarse: bool, wait_s: float) -> Report:
    """Embed the recordings that wait, that have changed or that could not be read before; arguments are those of `add`.

    Files that are gone are left out; their vectors stay.
    """
    found = _Found()
    with archive.writing(wait_s, should_stop) as writer:
        for row in archive.catalogue.rows():
            path = archive.absolute(row.path)
            if path.exists():
                _check_again(archive, row, path, found)
        ids = [row.id for row in archive.catalogue.rows() if archive.absolute(row.path).exists()]
        _embed(archive, writer, ids, found, tick, should_stop, coarse)
    return found.report()


def _register(archive: OpenArchive, files: Sequence[Path], found: _Found) -> list[str]:
    """Rows for files. Returns the ids of all that are readable, known or new."""
    catalogue = archive.catalogue
    ids = {archive.absolute(row.path): row.id for row in catalogue.rows()}
    wanted: list[str] = []
    new: list[tuple[Path, FileRow]] = []
    for file in files:
        if (known := catalogue.by_path(stored_path(file, archive.folder))) is not None:
            _check_again(archive, known, file, found)
            wanted.append(known.id)
            continue
        try:
            row = _read(archive, file)
        except DataError as error:
            found.aside[str(file)] = str(error)
            continue
        same = catalogue.by_content(row.content)
        if same is None:
            new.append((file, row))
        elif _is_at(archive, same):
            found.copies[str(file)] = same.id
        else:
            catalogue.put(replace(same, path=row.path, size=row.size, mtime_ns=row.mtime_ns))
            found.moved.append(same.id)
            wanted.append(same.id)
    if new:
        names = name_files([file for file, _ in new], ids)
        contents: dict[str, str] = {}
        with catalogue.transaction():
            for file, row in new:
                if row.content in contents:
                    found.copies[str(file)] = contents[row.content]
                    continue
                catalogue.put(replace(row, id=names[file]))
                wanted.append(names[file])
                found.added.append(names[file])
                contents[row.content] = names[file]
    return wanted


def _read(archive: OpenArchive, file: Path) -> FileRow:
    """A new row, without an id, of a file; if its header cannot be read, it has no length.

    Raises:
        DataError: it does not exist or cannot be opened.
    """
    content, facts = identity(file), _facts(file)
    row = FileRow(
        id="",
        path=stored_path(file, archive.folder),
        content=content,
        size=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        fps=0.0,
        duration_s=0.0,
        width=0,
        height=0,
        added_s=time.time(),
        state="waiting",
        source=file.parent.name or "/",
    )
    try:
        info = video.probe(file)
    except DataError as error:
        return row.now("failed", str(error))
    return replace(row, fps=info.fps, duration_s=info.duration_s, width=info.width_px, height=info.height_px)


def _check_again(archive: OpenArchive, row: FileRow, file: Path, found: _Found) -> None:
    """Note whether a known file has changed; one of the same size and time is not read."""
    try:
        facts = _facts(file)
    except DataError as error:
        found.aside[str(file)] = str(error)
        return
    if (facts.st_size, facts.st_mtime_ns) == (row.size, row.mtime_ns) and row.state != "failed":
        found.unchanged.append(row.id)
        return
    try:
        now = _read(archive, file)
    except DataError as error:
        found.aside[str(file)] = str(error)
        return
    now = replace(now, **{name: vars(row)[name] for name in ("id", "added_s", *ORIGIN)})
    if now.content == row.content:
        state = now.state if "failed" in (now.state, row.state) else row.state
        archive.catalogue.put(replace(now, state=state, problem=now.problem or row.problem))
        found.unchanged.append(row.id)
    else:
        archive.catalogue.put(now)
        found.updated.append(row.id)


def _facts(file: Path) -> os.stat_result:
    """Size and times of a file.

    Raises:
        DataError: it has gone.
    """
    try:
        return file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): check the path") from error


def _is_at(archive: OpenArchive, row: FileRow) -> bool:
    """Whether the file of a row is still there, with the same content."""
    path = archive.absolute(row.path)
    return path.exists() and identity(path) == row.content


def _embed(
    archive: OpenArchive,
    writer: SpaceWriter,
    ids: Sequence[str],
    found: _Found,
    tick: Tick,
    should_stop: Stop,
    coarse: bool,
) -> None:
    """Embed those of the recordings that need it."""
    rows = [archive.catalogue.row(id) for id in dict.fromkeys(ids)]
    for row in rows:
        if row.state == "failed":
            found.fail(row.id, archive.absolute(row.path), row.problem)
    rows = [row for row in rows if row.state != "failed" and writer.state(row) != "embedded"]
    if not rows:
        return
    meter = Meter(rows, tick, should_stop)
    # All are registered: a page can play them while the model is loaded.
    meter.tell("")
    embedder, videos = archive.embedder, archive.manifest()

    def each(row: FileRow, work: Callable[[Path], str]) -> None:
        path = archive.absolute(row.path)
        try:
            line = work(path)
            archive.catalogue.set_state(row.id, writer.state(row), line)
        except Unreadable as error:
            archive.catalogue.set_state(row.id, "failed", str(error))
            found.fail(row.id, path, str(error))

    try:
        for row in rows if coarse else []:
            if writer.state(row) == "waiting":
                meter.check()
                each(row, partial(writer.embed_coarsely, embedder, row, videos))
                meter.tell(row.id)
        if embedder.texts is not None and archive.space.embed_sentences(embedder.texts):
            meter.tell("")
        for row in rows:
            meter.check()
            if archive.catalogue.row(row.id).state != "failed":
                each(row, partial(writer.embed, embedder, row, videos, meter.read))
                found.embedded.append(row.id)
            meter.next()
    except Stopped:
        found.stopped = True
