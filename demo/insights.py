"""What the stored vectors say about whole recordings, cached: the strip of phases, and whether it is unlike the rest.

No model is needed. Shapes: N clips, S clips of a sample, E width.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surgvl.archive.archive import Archive
from surgvl.archive.records import Recording
from surgvl.core.arrays import Float32Array
from surgvl.demo.embedded_sets import embedded_sets
from surgvl.demo.schemas import Phase
from surgvl.demo.timeline import clips_of, shown_timeline
from surgvl.embed.vectors import unit

SMOOTH_S = 5.0
# Clips of a recording that are compared, and of all others.
SAMPLE, NUM_OTHERS = 200, 2000
# Of a held-out recording of the kind that the model knows, 0 to 16 % of the clips are outliers; of nine out of eleven
# real ones, for a model of rendered ones, 44 to 100 % (see surgvl/retrieval/reference.py).
FOREIGN = 0.3
OUTSIDE = 0.05


@dataclass(frozen=True)
class Insight:
    """What is known of a recording.

    Attributes:
        classes: phases of the default prompt set.
        phases: the model's phases.
        foreign: why its labels may mean little, in a line; else empty.
    """

    classes: list[str]
    phases: list[Phase]
    foreign: str


class Insights:
    """Insights of an archive, each computed when it is first asked for.

    Args:
        archive: the archive.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Insight]] = {}
        self._others: tuple[object, list[str], Float32Array] | None = None

    def of(self, recording: Recording, logit_scale: float, trained_on: str) -> Insight:
        """The insight of a recording that has vectors.

        Args:
            recording: the recording.
            logit_scale: factor of the model's cosines.
            trained_on: kind of the model's training videos, in words; empty if unknown.
        """
        shown = (recording.content, recording.state, recording.rendered)
        key = (*shown, self._archive.model_hash, logit_scale, trained_on)
        with self._lock:
            known = self._known.get(recording.id)
        if known is not None and known[0] == key:
            return known[1]
        clips = clips_of(self._archive, recording)
        names = self._archive.prompt_sets("phase")[:1]
        sets = embedded_sets(self._archive, names) if names else []
        drawn = shown_timeline(clips, sets, logit_scale, SMOOTH_S, recording.duration_s)
        foreign = self._foreign(recording, clips.vectors)
        if trained_on == "rendered videos" and not recording.rendered:
            foreign = "The model was trained on rendered videos alone: treat every label here as a guess."
        found = Insight(drawn.classes, drawn.phases, foreign)
        with self._lock:
            self._known[recording.id] = (key, found)
        return found

    def _foreign(self, recording: Recording, vectors: Float32Array) -> str:
        names, others = self._sample()
        owner = np.asarray(names, np.str_)
        mine = unit(_spread(vectors, SAMPLE))
        rest = others[owner != recording.id]
        if len(mine) < 10 or len(set(names) - {recording.id}) < 3:
            return ""
        if float((mine @ mine.T).std()) < 5e-4:
            return "This model cannot tell the frames of this recording apart: its labels mean nothing here."
        # What is usual: the nearest clip of another recording, for the clips of the others.
        cosines = rest @ rest.T
        cosines[owner[owner != recording.id][:, None] == owner[owner != recording.id][None]] = -1
        usual = float(np.quantile(cosines.max(1), OUTSIDE))
        outside = float(((mine @ rest.T).max(1) < usual).mean())
        if outside < FOREIGN:
            return ""
        return (
            f"Unlike the other recordings of this archive ({outside:.0%} of its clips have no near one there): treat "
            "every label here as a guess."
        )

    def _sample(self) -> tuple[list[str], Float32Array]:
        """Clips of all recordings, and the recording of each."""
        ready = [each for each in self._archive.recordings() if each.state == "embedded"]
        key = (self._archive.model_hash, tuple(each.content for each in ready))
        with self._lock:
            if self._others is not None and self._others[0] == key:
                return self._others[1], self._others[2]
        share = max(1, NUM_OTHERS // max(1, len(ready)))
        names: list[str] = []
        parts: list[Float32Array] = []
        for each in ready[:NUM_OTHERS]:
            part = _spread(self._archive.vectors_of(each.id)[0], share)
            names += [each.id] * len(part)
            parts.append(part)
        vectors = unit(np.concatenate(parts)) if parts else np.zeros((0, self._archive.dim), np.float32)
        with self._lock:
            self._others = (key, names, vectors)
        return names, vectors


def _spread(vectors: Float32Array, most: int) -> Float32Array:
    """At most so many rows, evenly spread."""
    kept = np.unique(np.linspace(0, len(vectors) - 1, min(most, len(vectors))).round().astype(int))
    return np.asarray(vectors[kept] if len(vectors) else vectors)


def strip(phases: Sequence[Phase], classes: Sequence[str]) -> list[tuple[float, float, int]]:
    """Phases as (start_s, end_s, class index), for a small picture."""
    at = {name: number for number, name in enumerate(classes)}
    return [(round(each.start_s, 2), round(each.end_s, 2), at[each.name]) for each in phases]
