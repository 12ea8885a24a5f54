"""One vectors folder of several: the shards of jobs that embedded a part of the videos each, or of separate runs.

Vectors are not read: files are linked, or copied to another file system, in the order of the whole list of videos, so
that the folder equals what one process would have written.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from surgvl.core.errors import DataError
from surgvl.core.files import read_json, write_json
from surgvl.core.parquet import read_parquet
from surgvl.data.manifest import Manifest
from surgvl.embed.meta import Meta, read_meta, write_meta
from surgvl.embed.part import Part
from surgvl.embed.recordings import CONTENTS, DAMAGED, read_contents

# What all must agree in, but for the vectors themselves and what they were trained on.
_SAME = ("model_hash", "dim", "clip_s", "stride_s", "preprocess", "prompt_sets")


@dataclass(frozen=True)
class _Folder:
    path: Path
    meta: Meta
    run: dict[str, Any]
    part: Part

    @classmethod
    def read(cls, path: Path) -> Self:
        run = read_json(path / "run.json")
        return cls(path, read_meta(path), run, Part.parse(run.get("shard", ""), f"shard of {path / 'run.json'}"))


@dataclass(frozen=True)
class Gathered:
    """What was made.

    Attributes:
        meta: `vectors.json` of the folder.
        num_videos: that have vectors.
        problems: why videos were set aside.
        manifest: its own manifest, where the parts had one (`embed --videos`).
        data_hash: hash of the manifest.
        precision: in which the vectors were computed.
    """

    meta: Meta
    num_videos: int
    problems: list[str]
    manifest: Manifest | None
    data_hash: str
    precision: str


def gather(folders: Sequence[Path], out: Path) -> Gathered:
    """Make one vectors folder.

    Args:
        folders: finished vectors folders of one model; of shards i/n, all n.
        out: an empty folder.

    Raises:
        DataError: a folder is unfinished, a shard is missing, they differ in how vectors were made, or two have vectors
            of one video.
    """
    parts = [_Folder.read(path) for path in folders]
    _check_same(parts)
    _check_whole(parts)
    contents: dict[str, str] = {}
    owner: dict[str, Path] = {}
    shards = [(int(path.stem.rpartition("-")[2]), at, path) for at, part in enumerate(parts) for path in _shards(part)]
    number = -1
    for own, at, path in sorted(shards):
        # Shards of one list have numbers of their own; those of separate runs are counted on.
        number = max(own, number + 1)
        video_id = read_parquet(path, columns=["video_id"])["video_id"][0].as_py()
        if video_id in owner:
            raise DataError(f"video {video_id!r} is in {owner[video_id]} and in {parts[at].path}: give one of them")
        owner[video_id] = parts[at].path
        contents[video_id] = read_contents(parts[at].path).get(video_id, "")
        for suffix in (".parquet", ".safetensors"):
            _link(path.with_suffix(suffix), out / f"shard-{number:05d}{suffix}")
    for path in sorted(parts[0].path.glob("texts.*")):
        _link(path, out / path.name)
    damaged = {name: part.meta.damaged_frames for part in parts for name in part.meta.damaged_frames}
    lines = {name: damaged[name][name] for name in owner if name in damaged}
    write_json(out / CONTENTS, contents)
    if lines:
        write_json(out / DAMAGED, lines)
    manifest = _manifest(parts, list(owner))
    if manifest is not None:
        manifest.save(out / "manifest")
    seen = sorted({name for part in parts for name in part.meta.pretraining_video_ids})
    changes = {"num_vectors": sum(part.meta.num_vectors for part in parts), "damaged_frames": lines}
    meta = parts[0].meta.model_copy(update={**changes, "pretraining_video_ids": seen})
    write_meta(out, meta)
    problems = list(dict.fromkeys(line for part in parts for line in part.run.get("problems", [])))
    data_hash = parts[0].run.get("data_hash", "") if manifest is None else manifest.hash
    return Gathered(meta, len(owner), problems, manifest, data_hash, parts[0].run.get("precision", "float32"))


def _shards(part: _Folder) -> list[Path]:
    return sorted(path for path in part.path.glob("shard-*.parquet") if path.with_suffix(".safetensors").is_file())


def _check_same(parts: Sequence[_Folder]) -> None:
    first = parts[0]
    for other in parts[1:]:
        for name in _SAME:
            mine, theirs = first.meta.model_dump()[name], other.meta.model_dump()[name]
            if mine != theirs:
                fact = f"{name} {mine} in {first.path} and {theirs} in {other.path}"
                raise DataError(f"{fact}: embed both with the same model and options")
        if first.run.get("precision") != other.run.get("precision"):
            raise DataError(f"{first.path} and {other.path} differ in precision: embed both with the same one")


def _check_whole(parts: Sequence[_Folder]) -> None:
    """Check that all shards of what was divided are there."""
    for count in sorted({part.part.count for part in parts} - {1}):
        there = sorted(part.part.index for part in parts if part.part.count == count)
        if missing := sorted(set(range(1, count + 1)) - set(there)):
            named = ", ".join(f"{index}/{count}" for index in missing[:5])
            raise DataError(f"shard {named} is missing among {len(parts)} folders: give all {count}, finished")


def _manifest(parts: Sequence[_Folder], ids: Sequence[str]) -> Manifest | None:
    """The manifests of the folders as one, in the order of ids; None where not all have one."""
    if not all((part.path / "manifest" / "manifest.json").is_file() for part in parts):
        return None
    merged = Manifest.merge([Manifest.load(part.path / "manifest") for part in parts])
    return Manifest([merged.video(name) for name in ids], root=merged.root)


def _link(source: Path, to: Path) -> None:
    """The same file; a link where the file system can, since shards are replaced and never changed."""
    try:
        os.link(source, to)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, to)
