"""The next version of an index folder: removals and additions, and then as little writing as they need.

An addition becomes part of the delta, which is rewritten. When the delta has grown to a share of the base, it is
folded into the base, whose quantisers stay, as does the recall that its build measured: measuring takes a minute for a
million vectors, and an hour of video is to be added within seconds. When the base has grown to a multiple of what its
quantisers were trained on, or much of it is removed, it is built again. What fits into a small file is always written
as one.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surgvl.core.locks import locked
from surgvl.retrieval import auto
from surgvl.retrieval import folder as files
from surgvl.retrieval.backends import BACKENDS
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.folder import IndexHeader, Part
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.moment_table import MomentTable
from surgvl.retrieval.recall import sample_texts

Rows = NDArray[np.float32]
# Up to this many vectors (20 MB at 512 dimensions) a version is one file.
SMALL = 10_000
# Largest share of the base in the delta, which is scanned: 20,000 vectors of 512 take a few milliseconds.
DELTA_SHARE = 0.02
# Growth since training, and removed share, from which the base is built again.
GROWTH, REMOVED = 4.0, 0.25


class Draft:
    """What will be the next version; obtained from `next_version`.

    Attributes:
        base: moments of the base that stay.
        delta: moments of the delta, with those that were added.
    """

    def __init__(self, folder: Path, head: IndexHeader, texts: Rows | None) -> None:
        self.folder, self.head, self._texts = folder, head, texts
        self.base = self.delta = self._whole_base = MomentTable.empty()
        self._num_added = 0
        self._rows: Rows = np.zeros((0, head.dim), np.float32)
        self._is_changed = self._is_rebuilt = False
        if head.base:
            self._whole_base = MomentTable.read(folder / head.base.moments)
            self.base = self._whole_base.without(head.removed)
        if head.delta:
            index, self.delta = files.read_part(folder, head, head.delta, is_mapped=False)
            self._rows = index.vectors_of(self.delta.ids)
        self._removed = set(head.removed)

    def remove(self, names: Iterable[str]) -> int:
        """Remove recordings; unknown ones are ignored. Returns the number of their vectors."""
        gone = set(names)
        before = len(self)
        self._removed |= gone.intersection(self.base.names)
        self.base = self.base.without(gone)
        kept = np.repeat([name not in gone for name in self.delta.names], np.diff(self.delta.first)).astype(bool)
        self._rows, self.delta = self._rows[kept], self.delta.without(gone)
        self._is_changed |= before != len(self)
        return before - len(self)

    def add(self, rows: Rows, table: MomentTable) -> None:
        """Add unit vectors [M, E] of recordings that are not there, in the order of their moments."""
        # The first vectors of an index may take much of the memory.
        self._rows = np.concatenate([self._rows, rows]) if len(self._rows) else rows
        self.delta = MomentTable.join([self.delta, table])
        self._is_changed |= len(rows) > 0
        self._num_added += len(rows)

    def __len__(self) -> int:
        return len(self.base) + len(self.delta)

    def rebuild(self, config: IndexConfig) -> None:
        """Build the base again, whatever has changed, and store it in this way from now on."""
        self.head = self.head.model_copy(update={"config": config})
        self._is_changed = self._is_rebuilt = True

    def write(self, progress: Callable[[int], object]) -> None:
        """Write the version, if anything changed, and make it the newest."""
        if not self._is_changed:
            return
        head, stem = self.head, f"-{self.head.number + 1}"
        base, delta, removed = head.base, None, tuple(sorted(self._removed))
        found: dict[str, object] = {}
        sentences, texts = self._sentences(stem)
        # A build passes over all vectors; those of before count as done.
        old = len(self) - self._num_added
        if not len(self):
            # No backend can be trained on nothing.
            base, removed, found = None, (), {"recall": {}, "why": ""}
        elif self._is_rebuilt or self._is_outgrown() or len(self) <= SMALL:
            rows, table = self._every()
            built = auto.build(
                rows, table.ids, head.config, texts, progress, old, table.recordings_of(np.arange(len(table)))
            )
            base, removed = files.write_part(self.folder, f"base{stem}", built.backend, built.index, table), ()
            found = {"recall": built.recall, "why": built.why}
        elif base is not None and self._is_folded(base):
            index, table = self._folded(base)
            progress(self._num_added)
            part = files.write_part(self.folder, f"base{stem}", base.backend, index, table)
            base, removed = part.model_copy(update={"trained": base.trained}), ()
        elif len(self.delta):
            index = FaissFlat(head.dim)
            index.add(self._rows, self.delta.ids)
            progress(self._num_added)
            delta = files.write_part(self.folder, f"delta{stem}", "flat", index, self.delta)
        change = {
            "number": head.number + 1,
            "count": len(self),
            "base": base,
            "delta": delta,
            "removed": removed,
            "texts": sentences,
        }
        files.write_header(self.folder, head.model_copy(update={**change, **found}))

    def _sentences(self, stem: str) -> tuple[str, Rows | None]:
        """Name and vectors of the sentences by which recall is measured: those given now, or those that are kept."""
        kept = files.read_texts(self.folder, self.head)
        if self._texts is None or not len(self._texts):
            return self.head.texts, kept
        texts = sample_texts(self._texts)
        if kept is not None and np.array_equal(kept, texts):
            return self.head.texts, kept
        files.write_texts(self.folder / f"texts{stem}.npy", texts)
        return f"texts{stem}.npy", texts

    def _is_outgrown(self) -> bool:
        """Whether the base is to be built again: it has grown or shrunk much, or into another kind, or is of version 1.

        The kind is compared with what was chosen, not with what came of it: a build that fell back would do so again.
        """
        base, head = self.head.base, self.head
        if base is None or base.num_bytes is None or len(self.base) < (1 - REMOVED) * len(self._whole_base):
            return True
        kinds = [auto.choose(count, head.dim, head.config)[0] for count in (base.trained, max(base.trained, len(self)))]
        return len(self) > GROWTH * base.trained or kinds[0] != kinds[1]

    def _is_folded(self, base: Part) -> bool:
        """Whether the delta becomes part of the base: it has grown, or the base holds what it is to forget."""
        forgets = BACKENDS[base.backend].FORGETS and bool(self._removed)
        return forgets or len(self.delta) > max(SMALL, DELTA_SHARE * len(self.base))

    def _every(self) -> tuple[Rows, MomentTable]:
        """All vectors and their moments."""
        table = MomentTable.join([self.base, self.delta])
        if not len(self.base) or self.head.base is None:
            return self._rows, table
        index, _ = files.read_part(self.folder, self.head, self.head.base, True, self._whole_base)
        return np.concatenate([index.vectors_of(self.base.ids), self._rows]), table

    def _folded(self, base: Part) -> tuple[BulkIndex, MomentTable]:
        """The base with the vectors of the delta, and without those that were removed."""
        index, table = files.read_part(self.folder, self.head, base, False, self._whole_base)
        for name in self._removed:
            index.remove(table.ids[table.slice_of(name)])
        index.add(self._rows, self.delta.ids)
        return index, MomentTable.join([self.base, self.delta])


@contextmanager
def next_version(
    folder: Path, texts: Rows | None = None, progress: Callable[[int], object] = lambda added: None
) -> Iterator[Draft]:
    """The next version, which is written and becomes the newest if the block succeeds.

    Args:
        folder: an index folder.
        texts: vectors of sentences, unit [T, E], by which this and later builds measure their recall; None: those that
            were given before.
        progress: called with the number of vectors indexed since the last call.

    Raises:
        DataError: not an index folder, or it cannot be written.
        ConfigError: another process keeps writing to it.
    """
    with locked(folder, files.WAIT_S):
        head = files.read_header(folder)
        files.clear(folder, head)
        try:
            draft = Draft(folder, head, texts)
            yield draft
            draft.write(progress)
        finally:
            files.clear(folder, files.read_header(folder))
