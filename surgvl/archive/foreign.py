"""Recordings that the model of an archive is likely not to understand: unlike all others, or unlike what it has seen.

No model is needed: the stored vectors and the records of its training tell. A moment of such a recording is never
called strong, because its odds are those of clips that the model can tell apart.

Shapes: S clips of a sample, E width.
"""

import threading
from dataclasses import replace

import numpy as np

from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Recording
from surgvl.archive.trained_on import RENDERED, labels_trained_on
from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.embed.vectors import unit
from surgvl.retrieval.moments import SearchResults

# Clips of a recording that are compared, and of all others; recordings that these come from.
SAMPLE, NUM_OTHERS, NUM_RECORDINGS = 200, 2000, 200
# Of a held-out recording of the kind that the model knows, 0 to 16 % of the clips are outliers; of nine out of eleven
# real ones, for a model of rendered ones, 44 to 100 % (see surgvl/retrieval/reference.py).
FOREIGN = 0.3
OUTSIDE = 0.05
# Cosines with a smaller standard deviation agree to three decimals.
SAME = 5e-4


class Foreign:
    """Which recordings of an archive are foreign to its model; thread-safe, each is found out once.

    Args:
        archive: the archive.
    """

    def __init__(self, archive: OpenArchive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, str]] = {}
        self._others: tuple[object, list[str], Float32Array] | None = None
        self._trained_on: tuple[str, str] | None = None

    def why(self, recording: Recording) -> str:
        """Why the model's labels of a recording may mean little, in a line; empty if they may be taken at their word.

        Raises:
            DataError: its vectors, or those of others, cannot be read.
        """
        # That its file is gone says nothing about its vectors.
        state = self._archive.catalogue.row(recording.id).state if recording.state == "missing" else recording.state
        if state not in ("coarse", "embedded"):
            return ""
        key = (recording.content, state, recording.rendered, self._archive.model_hash)
        with self._lock:
            known = self._known.get(recording.id)
        if known is not None and known[0] == key:
            return known[1]
        if not recording.rendered and self.trained_on() == RENDERED:
            found = "The model was trained on rendered videos alone: treat every label here as a guess."
        else:
            found = self._unlike(recording.id)
        with self._lock:
            self._known[recording.id] = (key, found)
        return found

    def trained_on(self) -> str:
        """Kind of the videos behind the model's labels, in words; empty if unknown."""
        model_hash = self._archive.model_hash
        with self._lock:
            known = self._trained_on
        if known is None or known[0] != model_hash:
            known = model_hash, labels_trained_on(self._archive.model, self._archive.manifest())
            with self._lock:
                self._trained_on = known
        return known[1]

    def marked(self, found: SearchResults) -> SearchResults:
        """The same results, with those of foreign recordings marked, which caps their word; the remark says so."""
        said: dict[str, str] = {}
        for id in dict.fromkeys(each.video_id for each in found):
            try:
                said[id] = self.why(self._archive.recording(id))
            except DataError:
                # It is being removed or embedded anew: there is nothing to compare.
                said[id] = ""
        moments = [replace(each, is_foreign=bool(said[each.video_id])) for each in found]
        capped = [each.video_id for each in found if said[each.video_id] and each.word == "strong"]
        lines = [found.remark, "Recordings that are foreign to the model have no strong moments."] if capped else []
        return SearchResults(moments, " ".join(filter(None, lines or [found.remark])))

    def _unlike(self, id: str) -> str:
        names, others = self._sample()
        owner = np.asarray(names, np.str_)
        mine = unit(_spread(self._archive.vectors_of(id)[0], SAMPLE))
        rest, owner = others[owner != id], owner[owner != id]
        if len(mine) < 10 or len(set(owner)) < 3:
            return ""
        if float((mine @ mine.T).std()) < SAME:
            return "This model cannot tell the frames of this recording apart: its labels mean nothing here."
        # What is usual: the nearest clip of another recording, for the clips of the others.
        cosines = rest @ rest.T
        cosines[owner[:, None] == owner[None]] = -1
        usual = float(np.quantile(cosines.max(1), OUTSIDE))
        outside = float(((mine @ rest.T).max(1) < usual).mean())
        if outside < FOREIGN:
            return ""
        return (
            f"Unlike the other recordings of this archive ({outside:.0%} of its clips have no near one there): treat "
            "every label here as a guess."
        )

    def _sample(self) -> tuple[list[str], Float32Array]:
        """Clips of recordings, evenly spread, and the recording of each."""
        ready = [each for each in self._archive.catalogue.rows() if each.state == "embedded"]
        key = (self._archive.model_hash, tuple(each.content for each in ready))
        with self._lock:
            if self._others is not None and self._others[0] == key:
                return self._others[1], self._others[2]
        chosen = [ready[at] for at in _even(len(ready), NUM_RECORDINGS)]
        share = NUM_OTHERS // max(1, len(chosen))
        names: list[str] = []
        parts: list[Float32Array] = []
        for each in chosen:
            part = _spread(self._archive.vectors_of(each.id)[0], share)
            names += [each.id] * len(part)
            parts.append(part)
        vectors = unit(np.concatenate(parts)) if parts else np.zeros((0, self._archive.dim), np.float32)
        with self._lock:
            self._others = (key, names, vectors)
        return names, vectors


def _even(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly spread."""
    return [int(at) for at in np.unique(np.linspace(0, count - 1, min(most, count)).round())] if count else []


def _spread(vectors: Float32Array, most: int) -> Float32Array:
    """At most so many rows, evenly spread."""
    return np.asarray(vectors[_even(len(vectors), most)])
