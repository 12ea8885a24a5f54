"""Your own recordings: a manifest of video files and folders, and the shards that are already embedded."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from surgvl import video
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json, write_json
from surgvl.core.parquet import read_parquet
from surgvl.core.plurals import plural
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.embed import vectors

BLOCK = 1 << 16
NUM_BLOCKS = 64
# Of a vectors folder: the content hash of each video.
CONTENTS = "shards.json"
# Of a vectors folder: a line for each video with damaged frames.
DAMAGED = "damaged_frames.json"


def manifest_of(paths: list[Path], earlier: Path | None = None) -> tuple[Manifest, list[str]]:
    """A manifest of video files and of those in folders at any depth, and the files left out.

    Ids are file stems; where these repeat, paths relative to the common folder, with suffixes where even these repeat.

    Args:
        paths: files and folders.
        earlier: manifest folder whose files keep their ids, if it exists.

    Returns:
        The manifest, and one line per file that cannot have a row.

    Raises:
        ConfigError: no video was found.
    """
    files, others, problems = find_videos(paths)
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(f"skipped {plural(len(others), 'file')} without a video suffix: {', '.join(others[:5])}{more}")
    if not files:
        where = ", ".join(map(_shown, paths)) or "(nothing)"
        raise ConfigError("; ".join([f"no video below {where}: give files or a folder of them", *problems]))
    known = {}
    if earlier is not None and (earlier / "manifest.json").is_file():
        table = Manifest.load(earlier)
        known = {table.path_of(row.video_id): row.video_id for row in table.videos}
    rows = []
    for file, video_id in name_files(files, known).items():
        try:
            info = video.probe(file)
            fps, duration_s = info.fps, info.duration_s
        except DataError:
            # Embedding raises the error again and lists the file.
            fps, duration_s = 1.0, 1.0
        rows.append(
            VideoRow(video_id=video_id, path=str(file), source=file.parent.name or "/", fps=fps, duration_s=duration_s)
        )
    return Manifest(rows), problems


def find_videos(paths: list[Path]) -> tuple[list[Path], list[str], list[str]]:
    """Video files among paths and in folders at any depth.

    Args:
        paths: files, which are taken whatever their suffix, and folders.

    Returns:
        The files, resolved, each once; files of folders that are left out for their suffix, in words; and one line per
        file whose path no manifest can hold.
    """
    files: dict[Path, None] = {}
    others: list[str] = []
    problems: list[str] = []
    for path in paths:
        for file in _walk(path, set()) if path.is_dir() else [path]:
            if file is not path and (file.suffix.lower() not in video.VIDEO_SUFFIXES or file.name.startswith(".")):
                others.append(_shown(file))
            elif not _is_utf8(file.absolute()):
                problems.append(f"{_shown(file)}: the path is not UTF-8: rename it")
            else:
                files[file.resolve()] = None
    return list(files), others, problems


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Files below a folder, sorted by name; links are followed, each target once."""
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return  # removed just now
    for path in paths:
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            yield path


def _is_utf8(path: Path) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in f"{path}{path.resolve()}")


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def name_files(files: list[Path], known: dict[Path, str]) -> dict[Path, str]:
    """An id for each file: its stem, or where that is taken its path below the common folder.

    Args:
        files: absolute paths.
        known: files that have an id, which no other file gets.
    """
    top = os.path.commonpath([file.parent for file in files])
    stems = Counter(file.stem for file in files if file not in known)
    below = {file: file.relative_to(top).as_posix() for file in files}
    bare = {file: name.removesuffix(file.suffix) for file, name in below.items()}
    taken = set(known.values())
    often = Counter(bare.values())
    names = {}
    for file in files:
        choices = [file.stem] if stems[file.stem] == 1 else []
        choices += [bare[file]] if often[bare[file]] == 1 and "/" in bare[file] else []
        choices += [below[file], str(file)]
        # Files that had all these names may have been moved since.
        others = (f"{file.stem}-{number}" for number in count(2))
        names[file] = known.get(file) or next(name for name in chain(choices, others) if name not in taken)
        taken.add(names[file])
    return names


def with_earlier(table: Manifest, earlier: Path, ids: set[str]) -> Manifest:
    """The rows of an earlier manifest, if it exists, and of this one, restricted to the ids."""
    rows = {}
    if (earlier / "manifest.json").is_file():
        rows = {row.video_id: row for row in Manifest.load(earlier).videos}
    rows |= {row.video_id: row for row in table.videos}
    return Manifest([row for video_id, row in rows.items() if video_id in ids])


def identity(path: Path) -> str:
    """Content hash of a file or folder: its size and up to 64 blocks of 64 KiB spread over it, 16 hex digits.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        parts = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
        for part in parts:
            size = part.stat().st_size
            digest.update(f"{part.name if path.is_dir() else ''}\x1e{size}\x1e".encode(errors="surrogateescape"))
            num_blocks = min(NUM_BLOCKS, -(-size // BLOCK))
            with part.open("rb") as file:
                for number in range(num_blocks):
                    file.seek(max(0, size - BLOCK) * number // max(1, num_blocks - 1))
                    digest.update(file.read(BLOCK))
    except OSError as error:
        raise DataError(f"{_shown(path)} cannot be read ({error.strerror}): check the path") from error
    return digest.hexdigest()[:16]


def read_contents(folder: Path) -> dict[str, str]:
    """The content hash of each video that a vectors folder has; empty in old folders."""
    contents: dict[str, str] = read_json(folder / CONTENTS) if (folder / CONTENTS).is_file() else {}
    return contents


class Shards:
    """Shards of a vectors folder by video; `shards.json` holds the content hash of each.

    Attributes:
        damaged: video id -> line about frames that the decoder marked as damaged; saved in `damaged_frames.json`.

    Args:
        folder: the vectors folder; this object is its only writer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / CONTENTS
        contents = read_contents(folder)
        self._of: dict[str, tuple[int, str]] = {}
        self._rows: dict[str, int] = {}
        self._damaged_file = folder / DAMAGED
        self.damaged: dict[str, str] = read_json(self._damaged_file) if self._damaged_file.is_file() else {}
        for path in sorted(folder.glob("shard-*")):
            if path.suffix != ".parquet" or not path.with_suffix(".safetensors").is_file():
                if not path.with_suffix(".parquet").is_file() or path.suffix == ".parquet":
                    path.unlink()  # one of a pair, left by a killed process
                continue
            try:
                names = read_parquet(path, ["video_id"])["video_id"].to_pylist()
            except (OSError, pa.ArrowInvalid) as error:
                raise DataError(f"{path} cannot be read ({error}): delete it, and embed again") from error
            self._of[names[0]] = (int(path.stem.rpartition("-")[2]), contents.get(names[0], ""))
            self._rows[names[0]] = len(names)

    @property
    def ids(self) -> set[str]:
        """Videos that have vectors."""
        return set(self._of)

    @property
    def numbers(self) -> dict[str, int]:
        """The shard of each video."""
        return {video_id: number for video_id, (number, _) in self._of.items()}

    @property
    def count(self) -> int:
        """Number of vectors."""
        return sum(self._rows.values())

    def has(self, video_id: str, content: str) -> bool:
        """Whether the video has vectors of this content."""
        return video_id in self._of and self._of[video_id][1] == content

    def drop(self, video_id: str) -> None:
        """Remove the vectors of a video, if it has any."""
        if video_id in self._of:
            number, _ = self._of.pop(video_id)
            del self._rows[video_id]
            self._list()
            self._note(video_id, "")
            for suffix in ("safetensors", "parquet"):
                (self.folder / f"shard-{number:05d}.{suffix}").unlink()

    def write(
        self,
        video_id: str,
        content: str,
        found: NDArray[np.float32],
        starts: list[float],
        ends: list[float],
        damaged: str = "",
        least: int = 0,
    ) -> None:
        """Write the vectors [N, E] of a video, starts and ends [N] in seconds, and a line about damaged frames.

        The shard has the lowest free number from `least` on; the order of numbers is that of the vectors.
        """
        self._note(video_id, damaged)
        taken = {number for number, _ in self._of.values()}
        number = next(each for each in count(least) if each not in taken)
        vectors.write_shard(self.folder, number, found, [video_id] * len(found), starts, ends)
        self._of[video_id], self._rows[video_id] = (number, content), len(found)
        self._list()

    def _note(self, video_id: str, line: str) -> None:
        if line != self.damaged.get(video_id, ""):
            self.damaged = {name: kept for name, kept in self.damaged.items() if name != video_id}
            self.damaged |= {video_id: line} if line else {}
            write_json(self._damaged_file, self.damaged)

    def _list(self) -> None:
        write_json(self._file, {video_id: content for video_id, (_, content) in self._of.items()})
