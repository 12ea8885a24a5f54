"""The clip index: an index folder that can be searched and extended, and from which videos can be deleted.

Writers, in one process or several, take turns, and each continues from the last version. An open index keeps the
version that it opened or last wrote, regardless of other writers (see `folder`).
"""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.embed.vectors import Vectors, unit
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.folder import IndexHeader, create_files, next_version, open_files
from surgvl.retrieval.moment_table import MomentRow, MomentTable, moment_id
from surgvl.retrieval.moments import Moment, SearchResults, merge_high
from surgvl.retrieval.reference import SAMPLE, Reference
from surgvl.retrieval.where import EVERYWHERE, Segment, Where

Ids = NDArray[np.int64]
# Vectors added between two progress reports.
AT_ONCE = 20_000


class ClipIndex:
    """An open index folder; its methods are thread-safe. Obtain one with `create` or `open`.

    Attributes:
        folder: the index folder.
        model: folder of the model that made the vectors.
        model_hash: its hash; vectors of other encoders are refused.
        dim: width E of the vectors.
    """

    def __init__(self, folder: Path, head: IndexHeader, index: FaissFlat, store: MomentTable) -> None:
        self.folder, self._index, self._store = folder, index, store
        self.model, self.model_hash, self.dim = head.model, head.model_hash, head.dim
        self._lock = threading.RLock()
        self._filters: dict[Where, Ids] = {}
        self._reference: Reference | None = None

    @classmethod
    def create(cls, folder: Path | str, model: str, model_hash: str, dim: int, exist_ok: bool = False) -> Self:
        """Create an empty index.

        Args:
            folder: created if missing.
            model: folder of the model that makes the vectors.
            model_hash: its hash.
            dim: width E of the vectors.
            exist_ok: open an existing index.

        Raises:
            ConfigError: the folder already holds an index.
        """
        create_files(Path(folder), IndexHeader(model=model, model_hash=model_hash, dim=dim, count=0), exist_ok)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str, model_hash: str | None = None) -> Self:
        """Open an index folder.

        Args:
            folder: an index folder.
            model_hash: hash of the encoder of the queries; None: unknown.

        Raises:
            DataError: not an index folder, inconsistent files, or an index of another encoder.
        """
        opened = cls(Path(folder), *open_files(Path(folder)))
        if model_hash is not None and model_hash != opened.model_hash:
            opened.close()
            opened.check_model(model_hash, "the query's model")
        return opened

    def close(self) -> None:
        """Close the table."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._index)

    def check_model(self, model_hash: str, whose: str) -> None:
        """Refuse another encoder.

        Raises:
            DataError: the hashes differ.
        """
        if model_hash != self.model_hash:
            raise DataError(
                f"{self.folder} was made with model {self.model} ({self.model_hash}), {whose} is {model_hash}: "
                "vectors of two models cannot be compared; use that model or another index"
            )

    def counts(self, column: str) -> dict[str, int]:
        """Number of vectors per value of `video_id`, `procedure` or `source`."""
        return self._store.counts(column)

    # ---- writing

    def add_vectors(
        self, vectors: Vectors, manifest: Manifest, progress: Callable[[int], object] = lambda added: None
    ) -> int:
        """Add the clips of a vectors folder; clips of videos already in the index are replaced.

        Of windows that were shifted to the same span at the ends of a video, the first is kept.

        Args:
            vectors: from the encoder of this index.
            manifest: has path, procedure and source of each video.
            progress: called with the number of vectors added since the last call.

        Returns:
            Number of vectors added.

        Raises:
            DataError: another encoder or width, a video missing in the manifest, or a zero vector.
        """
        self.check_model(vectors.meta.model_hash, f"that of {vectors.folder}")
        if vectors.vectors.shape[1:] != (self.dim,):
            raise DataError(f"vectors of {vectors.folder} must be [N, {self.dim}], got {vectors.vectors.shape}")
        if (flat := ~np.any(vectors.vectors, axis=1)).any():
            raise DataError(f"{vectors.folder}, row {int(flat.argmax())}: the vector is zero: check the model")
        every = self._rows(vectors, manifest)
        ids, first = np.unique(np.array([row.id for row in every], np.int64), return_index=True)
        rows = [every[at] for at in first]
        with next_version(self.folder) as (index, store):
            for name in dict.fromkeys(vectors.video_ids):
                index.remove(store.delete_video(name))
            for at in range(0, len(rows), AT_ONCE):
                index.add(unit(vectors.vectors[first[at : at + AT_ONCE]]), ids[at : at + AT_ONCE])
                store.put(rows[at : at + AT_ONCE])
                progress(len(rows[at : at + AT_ONCE]))
        self._renew()
        return len(rows)

    def delete_video(self, video_id: str) -> int:
        """Remove a video. Returns the number of its vectors.

        Raises:
            DataError: it is not in the index.
        """
        with next_version(self.folder) as (index, store):
            if not store.counts("video_id").get(video_id):
                raise DataError(f"video {video_id!r} is not in {self.folder}: `surgvl search` shows what is")
            count = index.remove(store.delete_video(video_id))
        self._renew()
        return count

    def _rows(self, vectors: Vectors, manifest: Manifest) -> list[MomentRow]:
        facts = {}
        for name in dict.fromkeys(vectors.video_ids):
            row = manifest.video(name)
            facts[name] = (str(manifest.root / row.path) if row.path else "", row.procedure, row.source)
        return [
            MomentRow(moment_id(name, start, end, self.model_hash), name, facts[name][0], start, end, *facts[name][1:])
            for name, start, end in zip(
                vectors.video_ids, vectors.start_s.tolist(), vectors.end_s.tolist(), strict=True
            )
        ]

    def _renew(self) -> None:
        """Switch to the newest version; running searches in other threads finish on the old one."""
        _, index, store = open_files(self.folder)
        with self._lock:
            self._store.close()
            self._index, self._store = index, store
            self._filters.clear()
            self._reference = None

    # ---- searching

    def search(
        self,
        vector: ArrayLike,
        k: int,
        where: Where = EVERYWHERE,
        exclude: Segment | None = None,
        is_foreign_clip: bool = False,
    ) -> SearchResults:
        """The k moments most similar to a vector, best first; fewer if there are no more.

        The extent of a moment depends on all scores of its recording, so it is the same for any k.

        Args:
            vector: [E], from this index's encoder; any norm above 0.
            k: number of distinct moments (see moments.merge).
            where: search only these clips.
            exclude: (video_id, start_s, end_s): skip clips that overlap this span, such as the query itself.
            is_foreign_clip: the vector is of a clip outside the index: the remark says if it is unlike all of them.

        Raises:
            DataError: wrong shape, NaN, or a zero vector.
            ConfigError: k below 1, conditions that no clip meets, or conditions that only an archive can answer.
        """
        query = np.asarray(vector, np.float32).reshape(1, -1)
        if not query.any():
            raise DataError("the query's vector is zero: check the model")
        if k < 1:
            raise ConfigError(f"k must be >= 1, got {k}")
        query = query / np.linalg.norm(query)
        with self._lock:
            among = self._among(where)
            hidden = self._overlapping(exclude)
            available = len(self._index) if among is None else len(among)
            fetch = max(32, 4 * k) + len(hidden)
            while True:
                fetch = min(fetch, available)
                moments = self._moments(query, self._index.search(query, max(fetch, 1), among)[1][0], hidden, exclude)
                if len(moments) >= k or fetch >= available:
                    return SearchResults(moments[:k], self._known_reference().remark(query[0], is_foreign_clip))
                fetch *= 4

    def vector_at(self, video_id: str, time_s: float) -> tuple[NDArray[np.float32], float, float]:
        """The stored vector at a time: unit vector float32 [E], start and end of its clip in seconds.

        Raises:
            DataError: the video is not in the index, or no clip covers the time.
        """
        with self._lock:
            rows = self._store.of_video(video_id)
            if not rows:
                raise DataError(f"video {video_id!r} is not in {self.folder}: give a file, or add the video")
            near = min(rows, key=lambda row: (abs((row.start_s + row.end_s) / 2 - time_s), row.start_s))
            if not near.start_s <= time_s <= near.end_s:
                span = f"{rows[0].start_s:.1f} to {max(row.end_s for row in rows):.1f} s"
                raise DataError(f"{video_id} is indexed from {span}; no clip covers {time_s} s: give a time in it")
            return self._index.vectors_of([near.id])[0], near.start_s, near.end_s

    def _among(self, where: Where) -> Ids | None:
        """Ids of the clips to search; None: all."""
        if where == EVERYWHERE:
            return None
        if where.of_archive:
            raise ConfigError(f"{self.folder} is an index and has no {next(iter(where.of_archive))}: search an archive")
        if where not in self._filters:
            ids = self._store.ids(where)
            if not len(ids):
                raise ConfigError(f"nothing in {self.folder} matches {where}{self._known(where)}")
            self._filters[where] = ids
        return self._filters[where]

    def _known(self, where: Where) -> str:
        """The values of the first condition that has few."""
        given = {"video_id": where.recordings, "procedure": where.procedure, "source": where.source}
        column = next((name for name, value in given.items() if value), None)
        if column is None:
            return ""
        values = list(self._store.counts(column))
        more = f" and {len(values) - 8} more" if len(values) > 8 else ""
        return f": {column} is one of {', '.join(values[:8]) or 'none'}{more}"

    def _overlapping(self, exclude: Segment | None) -> set[int]:
        video_id, start_s, end_s = exclude or ("", 0.0, 0.0)
        return {row.id for row in self._store.of_video(video_id) if row.start_s < end_s and row.end_s > start_s}

    def _moments(self, query: Float32Array, best: Ids, hidden: set[int], exclude: Segment | None) -> list[Moment]:
        """Moments started by the best clips, from all clips of their recordings."""
        begin = set(best[best >= 0].tolist()) - hidden
        videos = dict.fromkeys(row.video_id for row in self._store.rows(sorted(begin)).values())
        rows = {row.id: row for name in videos for row in self._store.of_video(name) if row.id not in hidden}
        if not rows:
            return []
        scores, ids = self._index.search(query, len(rows), np.array(list(rows), np.int64))
        hits = [rows[name] for name in ids[0].tolist()]
        # No moment extends across an excluded span.
        video_id, _, after_s = exclude or ("", 0.0, 0.0)
        sections = [f"{row.video_id}\0{row.video_id == video_id and row.start_s >= after_s}" for row in hits]
        starts, ends = [row.start_s for row in hits], [row.end_s for row in hits]
        merged = merge_high(sections, starts, ends, scores[0], [row.id in begin for row in hits])
        spans = zip(merged.best.tolist(), merged.start_s.tolist(), merged.end_s.tolist(), strict=True)
        found = [(hits[at], float(scores[0, at]), start, end) for at, start, end in spans]
        return [Moment(row.video_id, row.path, a, b, score, row.procedure, row.source) for row, score, a, b in found]

    def _known_reference(self) -> Reference:
        if self._reference is None:
            ids = np.sort(self._index.ids)
            if len(ids) > SAMPLE:
                ids = np.sort(np.random.default_rng(0).choice(ids, SAMPLE, replace=False))
            rows = self._store.rows(ids)
            self._reference = Reference.of(self._index.vectors_of(ids), [rows[name].video_id for name in ids.tolist()])
        return self._reference
