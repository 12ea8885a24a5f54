"""The vectors folder, which `embed` writes once and every task, metric and index reads.

    shard-00000.safetensors  vectors float16 [N, E]      shard-00000.parquet  video_id, start_s, end_s (same order)
    texts.safetensors        vectors float32 [M, E]      texts.parquet        prompt_set, class_id, class_name, prompt
    vectors.json             origin of the vectors; written last, so a folder without it is unfinished

Shape letters: N clips, M prompts, E width of the shared space. Times are seconds of the source video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.core.parquet import read_parquet
from surgvl.core.results import UNRECORDED
from surgvl.embed.meta import Meta, read_meta
from surgvl.prompts import PromptSet

_ROWS = pa.schema([("video_id", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())])
_TEXTS = pa.schema(
    [("prompt_set", pa.string()), ("class_id", pa.int64()), ("class_name", pa.string()), ("prompt", pa.string())]
)


@dataclass(frozen=True)
class Texts:
    """M prompts with their vectors, float32 [M, E]."""

    vectors: NDArray[np.float32]
    prompt_sets: list[str]
    class_ids: list[int]
    class_names: list[str]
    prompts: list[str]

    def classes(self, prompt_set: str) -> tuple[list[str], NDArray[np.float32]]:
        """Zero-shot class vectors of a prompt set.

        Returns:
            Class names in id order [C] and their vectors float32 [C, E].

        Raises:
            DataError: the set was not embedded, its ids are not 0 ... C-1, or an id has two names.
        """
        rows = [at for at, name in enumerate(self.prompt_sets) if name == prompt_set]
        if not rows:
            there = ", ".join(sorted(set(self.prompt_sets))) or "none"
            raise DataError(
                f"prompt set {prompt_set!r} is not among the embedded ones ({there}): give it to --prompt_sets"
            )
        names: dict[int, str] = {}
        for at in rows:
            if names.setdefault(self.class_ids[at], self.class_names[at]) != self.class_names[at]:
                both = f"{names[self.class_ids[at]]!r} and {self.class_names[at]!r}"
                raise DataError(f"texts of {prompt_set!r}: class {self.class_ids[at]} is named {both}: embed again")
        if sorted(names) != list(range(len(names))):
            raise DataError(f"texts of {prompt_set!r}: class ids {sorted(names)} have gaps: embed again")
        ids = [self.class_ids[at] for at in rows]
        return [names[at] for at in range(len(names))], class_vectors(unit(self.vectors[rows]), ids)


@dataclass(frozen=True)
class Vectors:
    """A vectors folder in memory: vectors float32 [N, E], one row per clip, in the order of the shards."""

    vectors: NDArray[np.float32]
    video_ids: list[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    meta: Meta
    texts: Texts | None = None
    folder: Path = field(default=Path("."))

    @classmethod
    def load(cls, folder: Path | str) -> "Vectors":
        """Read a finished vectors folder.

        Raises:
            DataError: it is unfinished, a shard lacks one of its files, shapes do not fit, or a value is not finite.
        """
        folder = Path(folder)
        meta = read_meta(folder)
        parts, tables = [], []
        for name in sorted({path.stem for path in folder.glob("shard-*") if not path.name.startswith(".")}):
            part, table = _read_pair(folder / name, _ROWS, meta.dim)
            parts.append(part)
            tables.append(table)
        vectors = np.concatenate(parts) if parts else np.zeros((0, meta.dim), np.float32)
        rows = pa.concat_tables(tables) if tables else _ROWS.empty_table()
        if len(vectors) != meta.num_vectors:
            fact = f"{folder} holds {len(vectors)} vectors, its vectors.json says {meta.num_vectors}"
            raise DataError(f"{fact}: run `surgvl embed` again into an empty folder")
        texts = read_texts(folder, meta.dim)
        start_s, end_s = rows["start_s"].to_numpy(), rows["end_s"].to_numpy()
        bad = ~(np.isfinite(start_s) & (start_s >= 0) & (end_s > start_s))
        if bad.any():
            at = int(bad.argmax())
            raise DataError(f"{folder}, row {at}: window {start_s[at]}-{end_s[at]} s is empty: embed again")
        return cls(vectors, rows["video_id"].to_pylist(), start_s, end_s, meta, texts, folder)

    @property
    def protocol(self) -> str:
        """Whether clips show the past only, in words."""
        return UNRECORDED if self.meta.preprocess is None else self.meta.preprocess.protocol

    @property
    def times_s(self) -> NDArray[np.float64]:
        """The moment that each clip stands for, seconds, float64 [N]; see `surgvl.video.clip.Preprocess.moment`.

        Folders that do not say how clips were cut hold windows, of which the centre of the segment is returned. The
        k-th window of a video lies around (k + 0.5) stride_s. A window longer than the stride is shifted into the video
        at its ends, so its middle differs from that centre, which still follows from the row's index within the video.
        If the rows of a video do not tile it, the middle of the window is returned.
        """
        if self.meta.preprocess is not None:
            return self.meta.preprocess.moments(self.start_s, self.end_s)
        middle = (self.start_s + self.end_s) / 2
        centre = (index_in_video(self.video_ids) + 0.5) * self.meta.stride_s
        _, video = np.unique(np.asarray(self.video_ids, np.str_), return_inverse=True)
        last_s = np.zeros(video.max(initial=-1) + 1)
        np.maximum.at(last_s, video, self.end_s)
        inside = (self.start_s > 0) & (self.end_s < last_s[video])
        slack_s = self.meta.stride_s / 2 + np.where(inside, 0.0, self.meta.clip_s / 2)
        off = np.zeros(len(last_s), bool)
        np.logical_or.at(off, video, np.abs(middle - centre) > slack_s)
        return np.where(off[video], middle, centre)


def index_in_video(video_ids: Sequence[str]) -> NDArray[np.int64]:
    """Index of each row among the rows of its video, from 0, int64 [N]."""
    _, video = np.unique(np.asarray(video_ids, np.str_), return_inverse=True)
    order = np.argsort(video, kind="stable")
    counts = np.bincount(video[order]) if len(order) else np.zeros(0, np.int64)
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return found


def unit(vectors: ArrayLike) -> NDArray[np.float32]:
    """Rows scaled to unit norm, float32; zero rows stay zero."""
    rows = np.asarray(vectors, np.float32)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def class_vectors(vectors: NDArray[np.float32], class_ids: Sequence[int]) -> NDArray[np.float32]:
    """Zero-shot class vectors: the mean of each class's unit prompt vectors, normalised again (arXiv 2103.00020).

    Args:
        vectors: unit vectors of M prompts, float32 [M, E].
        class_ids: class of each prompt [M]; all of 0 ... C - 1 occur.

    Returns:
        float32 [C, E].
    """
    sums = np.zeros((max(class_ids) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, list(class_ids), vectors)
    return unit(sums)


def write_shard(
    folder: Path | str, index: int, vectors: ArrayLike, video_ids: Sequence[str], start_s: ArrayLike, end_s: ArrayLike
) -> None:
    """Write one shard atomically: its rows, then its vectors, so that vectors never lack rows.

    Args:
        folder: the vectors folder.
        index: index of the shard; an existing shard is replaced.
        vectors: [N, E]; stored as float16.
        video_ids: [N].
        start_s: [N], seconds.
        end_s: [N], seconds.

    Raises:
        DataError: lengths differ, or a vector is not finite in float16.
    """
    rows = np.asarray(vectors, np.float16)
    columns = [list(video_ids), np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)]
    _write_pair(Path(folder) / f"shard-{index:05d}", rows, pa.table(columns, schema=_ROWS))


def write_texts(folder: Path | str, texts: Texts) -> None:
    """Write all prompts and their vectors (float32) atomically.

    Raises:
        DataError: lengths differ, or a vector is not finite.
    """
    columns = [texts.prompt_sets, texts.class_ids, texts.class_names, texts.prompts]
    _write_pair(Path(folder) / "texts", np.asarray(texts.vectors, np.float32), pa.table(columns, schema=_TEXTS))


def embed_sets(encode: Callable[[list[str]], NDArray[np.float32]], sets: Sequence[PromptSet], out: Path | str) -> None:
    """Encode every sentence of the sets, and write them with their vectors into a vectors folder."""
    rows = [(each.name, number, name, text) for each in sets for number, name, text in each.texts()]
    if not rows:
        return
    found = encode([row[3] for row in rows])
    names, ids, classes, texts = (list(column) for column in zip(*rows, strict=True))
    write_texts(out, Texts(found, names, ids, classes, texts))


def read_texts(folder: Path | str, dim: int) -> Texts | None:
    """The prompts of a folder; None where none were embedded.

    Raises:
        DataError: a file is missing or broken, or the vectors are not [M, dim].
    """
    stem = Path(folder) / "texts"
    if not stem.with_suffix(".parquet").is_file():
        return None
    vectors, table = _read_pair(stem, _TEXTS, dim)
    return Texts(vectors, *(table[name].to_pylist() for name in _TEXTS.names))


def read_shard(
    folder: Path | str, index: int, dim: int
) -> tuple[NDArray[np.float32], list[str], NDArray[np.float64], NDArray[np.float64]]:
    """One shard: vectors float32 [N, dim], video ids [N], starts and ends in seconds [N].

    Raises:
        DataError: a file is missing or broken.
    """
    vectors, table = _read_pair(Path(folder) / f"shard-{index:05d}", _ROWS, dim)
    return vectors, table["video_id"].to_pylist(), table["start_s"].to_numpy(), table["end_s"].to_numpy()


def _write_pair(stem: Path, vectors: NDArray[Any], table: Any) -> None:
    if vectors.ndim != 2 or len(vectors) != len(table):
        raise DataError(f"{stem}: vectors of shape {vectors.shape} for {len(table)} rows: give one row per vector")
    if not np.isfinite(vectors).all():
        at = int((~np.isfinite(vectors).all(1)).argmax())
        raise DataError(f"{stem}: vector {at} is not finite in {vectors.dtype}: check the model's output")
    with atomic(stem.with_suffix(".parquet")) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    with atomic(stem.with_suffix(".safetensors")) as temporary:
        save_file({"vectors": np.ascontiguousarray(vectors)}, temporary)


def _read_pair(stem: Path, schema: Any, dim: int) -> tuple[NDArray[np.float32], Any]:
    try:
        table = read_parquet(stem.with_suffix(".parquet"))
        vectors = load_file(stem.with_suffix(".safetensors"))["vectors"].astype(np.float32)
    except (OSError, pa.ArrowInvalid, SafetensorError, KeyError) as error:
        raise DataError(f"{stem}.parquet and {stem.name}.safetensors: {error}: embed again with --resume") from error
    if table.column_names != schema.names or table.schema.types != schema.types:
        raise DataError(f"{stem}.parquet must have the columns {schema.names}, got {table.column_names}: embed again")
    if any(table[name].null_count for name in schema.names):
        raise DataError(f"{stem}.parquet has empty cells: embed again")
    if vectors.shape != (len(table), dim):
        raise DataError(f"{stem}.safetensors must have shape {(len(table), dim)}, got {vectors.shape}: embed again")
    if not np.isfinite(vectors).all():
        at = int((~np.isfinite(vectors).all(1)).argmax())
        raise DataError(f"{stem}.safetensors, row {at}: not finite: check the model and embed again")
    return vectors, table
