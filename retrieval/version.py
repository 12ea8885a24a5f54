"""One version of an index folder, open for reading: vectors and moments that never change."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval.base import Ids, Selection
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.extents import find_extents
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.faiss_index import NEAR
from surgvl.retrieval.folder import IndexHeader, read_header, read_part
from surgvl.retrieval.index_config import Device
from surgvl.retrieval.layers import Layers
from surgvl.retrieval.moment_table import MomentTable
from surgvl.retrieval.moments import Moment
from surgvl.retrieval.reference import SAMPLE, Reference
from surgvl.retrieval.where import Segment, Where

# Recordings whose clips are scored at once.
_TOGETHER = 2
# Filters that are kept prepared, and clips in them: at 17 bytes a clip, narrow filters are many and wide ones few.
_FILTERS, _CLIPS = 64, 4_000_000
# Rows int64 [N] of the clips of a recording, and their scores float32 [N] with a query, by its place in the table.
Scored = dict[int, tuple[NDArray[np.int64], Float32Array]]


@dataclass(frozen=True, eq=False)
class Version:
    """A version, as it was read.

    Attributes:
        head: `index.json`.
        index: the vectors.
        table: their moments.
        placed: one line where a GPU was to search and cannot; empty otherwise.
    """

    head: IndexHeader
    index: Layers
    table: MomentTable
    placed: str = ""
    _filters: dict[Where, tuple[Selection, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def newest(cls, folder: Path) -> Self:
        """Open the newest version of an index folder, during writes, too.

        Raises:
            DataError: a file is missing or broken, or the files are inconsistent.
        """
        while True:
            head = read_header(folder)
            try:
                return cls._read(folder, head)
            except (DataError, FileNotFoundError):
                # A writer may have replaced this version, and removed its files, since `index.json` was read.
                if read_header(folder) == head:
                    raise

    @classmethod
    def _read(cls, folder: Path, head: IndexHeader) -> Self:
        layers, tables, placed = [], [], ""
        for part in (head.base, head.delta):
            if part is not None:
                index, table = read_part(folder, head, part, is_mapped=part == head.base)
                if part == head.base and head.removed:
                    index.remove(np.concatenate([table.ids[table.slice_of(name)] for name in head.removed]))
                    table = table.without(head.removed)
                if part == head.base:
                    placed = _placed(index, head.config.device)
                layers.append(index)
                tables.append(table)
        return cls(head, Layers(tuple(layers) or (FaissFlat(head.dim),)), MomentTable.join(tables), placed)

    def selected(self, where: Where) -> tuple[Selection, ...]:
        """The clips that meet conditions, prepared once."""
        with self._lock:
            found = self._filters.get(where)
        if found is None:
            found = self.index.select(self.table.ids[self.table.matching(where)])
            with self._lock:
                kept = sum(len(each.ids) for some in self._filters.values() for each in some)
                if len(self._filters) >= _FILTERS or kept > _CLIPS:
                    self._filters.clear()
                self._filters[where] = found
        return found

    def overlapping(self, spans: Sequence[Segment]) -> Ids:
        """Ids of the clips that overlap one of the spans."""
        found = [np.zeros(0, np.int64)]
        for video_id, start_s, end_s in spans:
            rows = self.table.slice_of(video_id)
            mine = (self.table.start_s[rows] < end_s) & (self.table.end_s[rows] > start_s)
            found.append(self.table.ids[rows][mine])
        return np.unique(np.concatenate(found))

    def moments(
        self,
        query: Float32Array,
        best: tuple[Float32Array, Ids],
        k: int,
        hidden: Ids,
        exclude: Sequence[Segment],
        admitted: Ids | None = None,
        scored: Scored | None = None,
    ) -> list[Moment]:
        """Moments that clips start, from all clips of their recordings: at least the first k, or all.

        Recordings are looked at from the one with the best clip down, until none that is left can be among the first.

        Args:
            query: unit vector [E].
            best: scores, falling, and ids of the clips.
            k: how many are wanted.
            hidden: ids of clips that are not considered.
            exclude: spans that no moment crosses.
            admitted: ids of the clips that moments are made of; None: all.
            scored: scores of recordings that a call for the same query left here, and leaves for the next.
        """
        scored = {} if scored is None else scored
        places = self.table.recordings_of(self.table.rows_of(best[1]))
        order, first = np.unique(places, return_index=True)
        order, tops = order[np.argsort(first)], best[0][np.sort(first)]
        found: list[tuple[float, int, Moment]] = []
        for at in range(0, len(order), _TOGETHER):
            found += self._moments_of(query, order[at : at + _TOGETHER], best[1], hidden, exclude, admitted, scored)
            below = tops[at + _TOGETHER] + NEAR if at + _TOGETHER < len(order) else -np.inf
            if sum(-falling > below for falling, *_ in found) >= k:
                break
        return [moment for *_, moment in sorted(found, key=lambda each: each[:2])]

    def _moments_of(
        self,
        query: Float32Array,
        places: NDArray[np.int64],
        best: Ids,
        hidden: Ids,
        exclude: Sequence[Segment],
        admitted: Ids | None,
        scored: Scored,
    ) -> list[tuple[float, int, Moment]]:
        """Moments of a few recordings, each with its negative score and the id of its best clip."""
        table = self.table
        of = {at: np.arange(table.first[at], table.first[at + 1]) for at in places.tolist() if at not in scored}
        if of:
            found_scores = self.index.scores(query, table.ids[np.concatenate(list(of.values()))])
            parts = np.split(found_scores, np.cumsum([len(each) for each in of.values()])[:-1])
            scored.update({at: (mine, part) for (at, mine), part in zip(of.items(), parts, strict=True)})
        rows, scores = (np.concatenate(each) for each in zip(*(scored[at] for at in places.tolist()), strict=True))
        kept = ~np.isin(table.ids[rows], hidden) if len(hidden) else np.ones(len(rows), bool)
        if admitted is not None:
            kept &= np.isin(table.ids[rows], admitted)
        rows, scores = rows[kept], scores[kept]
        if not len(rows):
            return []
        order = np.lexsort((table.ids[rows], -scores))
        rows, scores = rows[order], scores[order]
        videos = table.recordings_of(rows)
        # No moment extends across an excluded span: what lies behind it is another section of the recording.
        sections = (len(exclude) + 1) * videos
        for video_id, _, after_s in exclude:
            named = table.names.index(video_id) if video_id in table.names else -1
            sections += (videos == named) & (table.start_s[rows] >= after_s)
        begins = np.isin(table.ids[rows], best)
        extents = find_extents(sections, table.start_s[rows], table.end_s[rows], scores, begins)
        found = []
        for at, start_s, end_s in zip(extents.best.tolist(), extents.start_s, extents.end_s, strict=True):
            name, facts, score = table.names[videos[at]], table.facts[videos[at]], float(scores[at])
            moment = Moment(name, facts.path, float(start_s), float(end_s), score, facts.procedure, facts.source)
            found.append((-score, int(table.ids[rows[at]]), moment))
        return found

    def known(self, where: Where) -> str:
        """The values of the first condition that has few."""
        given = {"video_id": where.recordings, "procedure": where.procedure, "source": where.source}
        column = next((name for name, value in given.items() if value), None)
        if column is None:
            return ""
        values = list(self.table.counts(column))
        more = f" and {len(values) - 8} more" if len(values) > 8 else ""
        return f": {column} is one of {', '.join(values[:8]) or 'none'}{more}"

    @cached_property
    def reference(self) -> Reference:
        """A sample of the clips, by which scores are judged."""
        rows = np.arange(len(self.table))
        if len(rows) > SAMPLE:
            rows = np.sort(np.random.default_rng(0).choice(len(rows), SAMPLE, replace=False))
        names = [self.table.names[at] for at in self.table.recordings_of(rows).tolist()]
        return Reference.of(self.index.vectors_of(self.table.ids[rows]), names)


def _placed(index: BulkIndex, device: Device) -> str:
    """Place an index; one line where a GPU was to search and cannot, because a folder must open on any machine."""
    try:
        index.place(device)
    except ConfigError as error:
        return f"searched on the processor: {error}"
    return ""
