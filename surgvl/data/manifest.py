"""The manifest, the common form of all data sets: videos, segments (labels over time) and questions, as arrow tables.

Its folder holds `manifest.parquet`, `segments.parquet`, `qa.parquet` and, written last, `manifest.json` {root, hash,
version}. Video paths are relative to `root`, and a relative root is relative to the folder. A folder whose tables do
not match the hash in its `manifest.json` was edited or partly written, and is refused.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from surgvl.core.errors import DataError
from surgvl.core.files import atomic, read_json, write_json
from surgvl.core.operations import qualified
from surgvl.core.parquet import read_parquet
from surgvl.data.spans import cover
from surgvl.data.tables import QA, SPLITS, Segment, VideoRow, drop_empty_columns, hashed_columns, to_rows, to_table

__all__ = ["QA", "VERSION", "Manifest", "Segment", "VideoRow"]

VERSION = 1
_FILES = {"manifest.parquet": VideoRow, "segments.parquet": Segment, "qa.parquet": QA}


class Manifest:
    """Videos with their labels and questions; immutable.

    Args:
        videos: rows or an arrow table with the columns of `VideoRow`.
        segments: rows or a table with the columns of `Segment`.
        qa: rows or a table with the columns of `QA`.
        root: folder that video paths are relative to.
        where: origin of the tables, for messages.

    Attributes:
        video_table: arrow table, in the order given.
        segment_table: arrow table.
        qa_table: arrow table.
        root: absolute path.

    Raises:
        DataError: wrong columns, missing values, NaN or negative times, duplicate video ids, one file in two splits, an
            unknown split, or segments or questions of an unknown video.
    """

    def __init__(
        self,
        videos: Sequence[VideoRow] | Any,
        segments: Sequence[Segment] | Any = (),
        qa: Sequence[QA] | Any = (),
        root: Path | str = ".",
        where: str = "manifest",
    ) -> None:
        self.root = Path(root).resolve()
        self.video_table = to_table(videos, VideoRow, f"{where}: videos")
        self.segment_table = to_table(segments, Segment, f"{where}: segments")
        self.qa_table = to_table(qa, QA, f"{where}: qa")
        self._index = {name: at for at, name in enumerate(self.video_table["video_id"].to_pylist())}
        self._check(where)

    def _check(self, where: str) -> None:
        ids, splits = self.video_table["video_id"].to_pylist(), self.video_table["split"].to_pylist()
        if unknown := sorted(set(splits) - set(SPLITS)):
            raise DataError(f"{where}: split must be train, val, test or empty, got {unknown[0]!r}: correct the rows")
        by_key: dict[str, str] = {}
        for kind, keys in (("id", ids), ("file", self.video_table["path"].to_pylist())):
            by_key.clear()
            for key, split in zip(keys, splits, strict=True):
                if key in by_key and (kind == "id" or (key and by_key[key] != split)):
                    both = f" (in {by_key[key]!r} and in {split!r})" if by_key[key] != split else ""
                    raise DataError(
                        f"{where}: video {kind} {key!r} occurs twice{both}: each video has one row and one split"
                    )
                by_key[key] = split
        for name, table in (("segments", self.segment_table), ("qa", self.qa_table)):
            for video_id in pc.unique(table["video_id"]).to_pylist():
                if video_id not in self._index:
                    raise DataError(
                        f"{where}: {name} refer to video {video_id!r}, which has no row: add it or drop them"
                    )

    # ---- files

    @classmethod
    def load(cls, folder: Path | str) -> "Manifest":
        """Read a manifest folder.

        Raises:
            DataError: the folder is not a manifest, is of another version, or does not match its hash.
        """
        folder = Path(folder)
        head = read_json(folder / "manifest.json")
        if not isinstance(head, dict) or not {"root", "hash", "version"} <= set(head):
            raise DataError(f"{folder / 'manifest.json'} lacks root, hash or version: convert the data set again")
        if head["version"] != VERSION:
            raise DataError(
                f"{folder} has manifest version {head['version']}, supported is {VERSION}: convert the data set again"
            )
        tables = []
        for name in _FILES:
            try:
                tables.append(read_parquet(folder / name))
            except (OSError, pa.ArrowInvalid) as error:
                raise DataError(f"{folder / name} cannot be read ({error}): convert the data set again") from error
        manifest = cls(tables[0], tables[1], tables[2], root=folder / head["root"], where=str(folder))
        if manifest.hash != head["hash"]:
            raise DataError(
                f"{folder} has hash {manifest.hash}, but its manifest.json says {head['hash']}: "
                "it was edited or partly written; convert the data set again"
            )
        return manifest

    def save(self, folder: Path | str) -> None:
        """Write the folder; `manifest.json` comes last, so that `load` notices an interrupted write."""
        folder = Path(folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in zip(_FILES, (self.video_table, self.segment_table, self.qa_table), strict=True):
            with atomic(folder / name) as temporary:
                pq.write_table(drop_empty_columns(table), temporary, compression="zstd")
        # Sibling folders are usually moved together, so their link is relative; all others are absolute.
        near = self.root.is_relative_to(folder.parent) and folder.parent != Path(folder.anchor)
        root = os.path.relpath(self.root, folder) if near else str(self.root)
        write_json(folder / "manifest.json", {"root": root, "hash": self.hash, "version": VERSION})

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all values in order, 16 hex digits; independent of the root."""
        digest = hashlib.sha256()
        for table in map(hashed_columns, (self.video_table, self.segment_table, self.qa_table)):
            for name in table.column_names:
                column = table[name].combine_chunks()
                digest.update(f"\x1e{name}\x1e{len(column)}\x1e".encode())
                if pa.types.is_floating(column.type):
                    digest.update(column.to_numpy(zero_copy_only=False).astype("<f8").tobytes())
                else:
                    coded = column.dictionary_encode()
                    digest.update("\x1f".join(coded.dictionary.to_pylist()).encode())
                    digest.update(coded.indices.to_numpy(zero_copy_only=False).astype("<i4").tobytes())
        return digest.hexdigest()[:16]

    # ---- rows

    @cached_property
    def videos(self) -> list[VideoRow]:
        """One row for each video."""
        return to_rows(self.video_table, VideoRow)

    @cached_property
    def segments(self) -> list[Segment]:
        """Segments as rows; for very many, use `segment_table`."""
        return to_rows(self.segment_table, Segment)

    @cached_property
    def qa(self) -> list[QA]:
        """Questions as rows; for very many, use `qa_table`."""
        return to_rows(self.qa_table, QA)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._index

    def video(self, video_id: str) -> VideoRow:
        """The row of one video.

        Raises:
            DataError: there is no such video.
        """
        if video_id not in self._index:
            raise DataError(f"the manifest has no video {video_id!r} among its {len(self)}: check the id")
        return self.videos[self._index[video_id]]

    def path_of(self, video_id: str) -> Path:
        """Absolute path of a video file or frame folder.

        Raises:
            DataError: there is no such video, or it has labels only.
        """
        path = self.video(video_id).path
        if not path:
            raise DataError(f"video {video_id!r} has labels but no file: add the file and convert the data set again")
        return self.root / path

    def video_ids(self, split: str | None = None) -> list[str]:
        """Ids in order, of one split or of all splits."""
        return [row.video_id for row in self.videos if split is None or row.split == split]

    def qualified(self, video_ids: Iterable[str]) -> list[str]:
        """Ids with their data sets (`cholec80:video06`), as a run records which videos it has seen."""
        return [qualified(name, self.video(name).data_set) for name in video_ids]

    def select(self, video_ids: Iterable[str]) -> "Manifest":
        """The manifest restricted to these videos, in their present order.

        Raises:
            DataError: an id is unknown.
        """
        wanted = {self.video(name).video_id for name in video_ids}
        keys = pa.array(sorted(wanted), pa.string())
        tables = (self.video_table, self.segment_table, self.qa_table)
        kept = [table.filter(pc.is_in(table["video_id"], value_set=keys)) for table in tables]
        return Manifest(kept[0], kept[1], kept[2], root=self.root)

    def split(self, name: str) -> "Manifest":
        """The videos of one split with their segments and questions.

        Raises:
            DataError: it has no video.
        """
        ids = self.video_ids(name)
        if not ids:
            raise DataError(self.no_split(name))
        return self.select(ids)

    def no_split(self, name: str) -> str:
        """Why no video is in a split, and what to do, for messages."""
        if self.videos and not any(row.split for row in self.videos):
            return (
                f"no video of the manifest has a split, so none is in {name!r}: give --split '' for all, or convert "
                'again with a splits.json, {"train": [ids], "val": [ids], "test": [ids]}, in the data\'s folder'
            )
        there = ", ".join(sorted({row.split or "(none)" for row in self.videos})) or "(no videos)"
        remedy = "choose another --split, or add videos of it and convert again"
        return f"no video is in split {name!r}; the manifest has splits {there}: {remedy}"

    @staticmethod
    def merge(manifests: Sequence["Manifest"]) -> "Manifest":
        """Merge manifests of several data sets; relative paths become absolute if the roots differ.

        Raises:
            DataError: a video id or file occurs in two of them, or the list is empty.
        """
        if not manifests:
            raise DataError("no manifest to merge: pass at least one")
        same = len({manifest.root for manifest in manifests}) == 1
        videos = [
            row if same or not row.path else row.model_copy(update={"path": str(manifest.root / row.path)})
            for manifest in manifests
            for row in manifest.videos
        ]
        segments = pa.concat_tables([manifest.segment_table for manifest in manifests])
        qa = pa.concat_tables([manifest.qa_table for manifest in manifests])
        return Manifest(videos, segments, qa, root=manifests[0].root, where="merged manifest")

    # ---- labels over time

    def second_labels(self, task: str, video_ids: Sequence[str], times_s: Any) -> list[list[str]]:
        """Labels of a task at many (video, time) pairs; one search per video, so it is fast for millions of pairs.

        Args:
            task: `phase`, `tool`, `triplet`, ...
            video_ids: [Q]; ids without segments of the task give empty lists.
            times_s: float [Q], seconds; a segment covers start_s <= t < end_s.

        Returns:
            Q lists of labels, sorted and unique.

        Raises:
            DataError: lengths differ, or a time is NaN.
        """
        times = np.asarray(times_s, np.float64)
        if times.shape != (len(video_ids),) or np.isnan(times).any():
            raise DataError(
                f"each video id needs a time other than NaN, got {len(video_ids)} ids and times {times.shape}"
            )
        found: list[list[str]] = [[] for _ in range(len(times))]
        if not len(times):
            return found
        table = self.segment_table.filter(pc.equal(self.segment_table["task"], task))
        names = sorted(pc.unique(table["label"]).to_pylist())
        labels = pc.index_in(table["label"], value_set=pa.array(names, pa.string())).to_numpy()
        start, end = table["start_s"].to_numpy(), table["end_s"].to_numpy()
        rows_of, queries_of = _groups(table["video_id"].to_pylist()), _groups(video_ids)
        for video_id, queries in queries_of.items():
            rows = rows_of.get(video_id)
            if rows is None:
                continue
            query, segment = cover(start[rows], end[rows], times[queries])
            for key in np.unique(queries[query] * len(names) + labels[rows][segment]).tolist():
                found[key // len(names)].append(names[key % len(names)])
        return found


def _groups(keys: Sequence[str]) -> dict[str, Any]:
    """Positions of each key: key -> ascending int64 array."""
    names, codes = np.unique(np.asarray(keys, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return {str(name): order[edges[at] : edges[at + 1]] for at, name in enumerate(names)}
