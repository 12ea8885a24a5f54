"""The clip index: an index folder that can be searched and extended, and from which videos can be deleted.

Writers, in one process or several, take turns, and each continues from the last version. An open index keeps the
version that it opened or last wrote, regardless of other writers (see `folder`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.embed.vectors import Vectors, unit
from surgvl.retrieval.base import Selection
from surgvl.retrieval.draft import next_version
from surgvl.retrieval.folder import IndexHeader, create_files
from surgvl.retrieval.index_config import DEFAULT, IndexConfig
from surgvl.retrieval.moment_table import Facts, MomentTable
from surgvl.retrieval.moments import SearchResults
from surgvl.retrieval.version import Scored, Version
from surgvl.retrieval.where import EVERYWHERE, Segment, Where


class ClipIndex:
    """An open index folder; its methods are thread-safe. Obtain one with `create` or `open`.

    Attributes:
        folder: the index folder.
        model: folder of the model that made the vectors.
        model_hash: its hash; vectors of other encoders are refused.
        dim: width E of the vectors.
        version: vectors and moments as they were opened or last written here.
    """

    def __init__(self, folder: Path, version: Version) -> None:
        head = version.head
        self.folder, self.version = folder, version
        self.model, self.model_hash, self.dim = head.model, head.model_hash, head.dim

    @classmethod
    def create(
        cls,
        folder: Path | str,
        model: str,
        model_hash: str,
        dim: int,
        exist_ok: bool = False,
        config: IndexConfig = DEFAULT,
    ) -> Self:
        """Create an empty index.

        Args:
            folder: created if missing.
            model: folder of the model that makes the vectors.
            model_hash: its hash.
            dim: width E of the vectors.
            exist_ok: open an existing index.
            config: how vectors are stored; an existing index keeps its own.

        Raises:
            ConfigError: the folder already holds an index.
        """
        create_files(Path(folder), IndexHeader(model=model, model_hash=model_hash, dim=dim, config=config), exist_ok)
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
        opened = cls(Path(folder), Version.newest(Path(folder)))
        if model_hash is not None:
            opened.check_model(model_hash, "the query's model")
        return opened

    def close(self) -> None:
        """Nothing is held open; the files of a version are unmapped when nobody uses it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.version.table)

    @property
    def config(self) -> IndexConfig:
        """How the index stores its vectors."""
        return self.version.head.config

    @property
    def why(self) -> str:
        """Of which kind the bulk of the vectors is, why, and its measured recall; empty in an empty index."""
        return self.version.head.why

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
        return self.version.table.counts(column)

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
        facts = {}
        for name in dict.fromkeys(vectors.video_ids):
            row = manifest.video(name)
            facts[name] = Facts(str(manifest.root / row.path) if row.path else "", row.procedure, row.source)
        table, kept = MomentTable.of(vectors.video_ids, vectors.start_s, vectors.end_s, facts, self.model_hash)
        texts = None if vectors.texts is None else unit(vectors.texts.vectors)
        with next_version(self.folder, texts, progress) as draft:
            draft.remove(table.names)
            draft.add(unit(vectors.vectors[kept]), table)
        self.version = Version.newest(self.folder)
        return len(table)

    def delete_video(self, *video_ids: str) -> int:
        """Remove videos, in one write. Returns the number of their vectors.

        Raises:
            DataError: none of them is in the index.
        """
        with next_version(self.folder) as draft:
            if not (count := draft.remove(video_ids)):
                names = ", ".join(map(repr, video_ids))
                raise DataError(f"video {names} is not in {self.folder}: `surgvl search` shows what is")
        self.version = Version.newest(self.folder)
        return count

    def rebuild(self, config: IndexConfig, progress: Callable[[int], object] = lambda added: None) -> None:
        """Store all vectors as `config` says from now on; what was quantised before stays so."""
        with next_version(self.folder, None, progress) as draft:
            draft.rebuild(config)
        self.version = Version.newest(self.folder)

    # ---- searching

    def search(
        self,
        vector: ArrayLike,
        k: int,
        where: Where = EVERYWHERE,
        exclude: Sequence[Segment] = (),
        is_foreign_clip: bool = False,
    ) -> SearchResults:
        """The k moments most similar to a vector, best first; fewer if there are no more.

        The extent of a moment depends on all scores of its recording, so it is the same for any k.

        Args:
            vector: [E], from this index's encoder; any norm above 0.
            k: number of distinct moments (see `extents`).
            where: search only these clips.
            exclude: skip clips that overlap one of these spans, such as the query itself.
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
        version = self.version
        among = self._among(version, where)
        hidden = version.overlapping(exclude)
        # Conditions on times hold for the whole of a moment, others for its recording.
        admitted = None if among is None or not where.of_times else np.concatenate([each.ids for each in among])
        available = len(version.table) if among is None else sum(len(each.ids) for each in among)
        fetch = max(128, 8 * k) + len(hidden)
        scored: Scored = {}
        while True:
            fetch = min(fetch, available)
            scores, ids = version.index.search(query, max(fetch, 1), among)
            seen = (ids[0] >= 0) & ~np.isin(ids[0], hidden)
            moments = version.moments(query[0], (scores[0][seen], ids[0][seen]), k, hidden, exclude, admitted, scored)
            if len(moments) >= k or fetch >= available:
                odds = version.reference.odds(query[0], [each.score for each in moments[:k]])
                kept = [replace(each, odds=number) for each, number in zip(moments, odds, strict=False)]
                return SearchResults(kept, version.reference.remark(query[0], is_foreign_clip))
            fetch *= 4

    @property
    def sample(self) -> Float32Array:
        """Unit vectors [S, E] of clips that stand for all."""
        return self.version.reference.vectors

    def vector_of(self, segment: Segment) -> Float32Array:
        """What a stored moment looks like: the mean of the clips whose middle lies in it, a unit vector [E].

        A moment shorter than the distance between clips is the clip at its middle.

        Raises:
            DataError: the video is not in the index, or no clip covers the moment.
        """
        video_id, start_s, end_s = segment
        version, table = self.version, self.version.table
        rows = table.slice_of(video_id)
        middles = (table.start_s[rows] + table.end_s[rows]) / 2
        mine = (middles >= start_s) & (middles < end_s)
        if not mine.any():
            return self.vector_at(video_id, (start_s + end_s) / 2)[0]
        return unit(version.index.vectors_of(table.ids[rows][mine]).mean(0))

    def vector_at(self, video_id: str, time_s: float) -> tuple[NDArray[np.float32], float, float]:
        """The stored vector at a time: unit vector float32 [E], start and end of its clip in seconds.

        Raises:
            DataError: the video is not in the index, or no clip covers the time.
        """
        version, table = self.version, self.version.table
        rows = table.slice_of(video_id)
        starts, ends = table.start_s[rows], table.end_s[rows]
        if not len(starts):
            raise DataError(f"video {video_id!r} is not in {self.folder}: give a file, or add the video")
        near = int(np.argmin(np.abs((starts + ends) / 2 - time_s)))
        if not starts[near] <= time_s <= ends[near]:
            span = f"{starts[0]:.1f} to {ends.max():.1f} s"
            raise DataError(f"{video_id} is indexed from {span}; no clip covers {time_s} s: give a time in it")
        vector = unit(version.index.vectors_of(table.ids[rows][near : near + 1]))[0]
        return vector, float(starts[near]), float(ends[near])

    def scores_of(self, video_id: str, vector: ArrayLike) -> tuple[NDArray[np.float64], Float32Array]:
        """How alike every clip of a recording is to a vector: middles in seconds, ascending [N], and scores [N].

        Args:
            video_id: a recording of the index.
            vector: [E], from this index's encoder; any norm above 0.

        Raises:
            DataError: the recording is not in the index.
        """
        table, rows = self.version.table, self.version.table.slice_of(video_id)
        if rows.start == rows.stop:
            raise DataError(f"video {video_id!r} is not in {self.folder}: add it first")
        scores = self.version.index.scores(unit(np.asarray(vector, np.float32)), table.ids[rows])
        return (table.start_s[rows] + table.end_s[rows]) / 2, scores

    def _among(self, version: Version, where: Where) -> tuple[Selection, ...] | None:
        """The clips to search; None: all."""
        if where == EVERYWHERE:
            return None
        if where.of_archive:
            raise ConfigError(f"{self.folder} is an index and has no {next(iter(where.of_archive))}: search an archive")
        found = version.selected(where)
        if not any(len(each.ids) for each in found):
            raise ConfigError(f"nothing in {self.folder} matches {where}{version.known(where)}")
        return found
