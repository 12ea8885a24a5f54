"""What the stored vectors say about whole recordings, cached: the strip of phases, and whether it is foreign.

No model is needed.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from surgvl.archive.archive import Archive
from surgvl.archive.records import Recording
from surgvl.demo.embedded_sets import embedded_sets
from surgvl.demo.schemas import Phase
from surgvl.demo.timeline import clips_of, shown_timeline

SMOOTH_S = 5.0


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

    def of(self, recording: Recording, logit_scale: float) -> Insight:
        """The insight of a recording that has vectors.

        Args:
            recording: the recording.
            logit_scale: factor of the model's cosines.
        """
        key = (recording.content, recording.state, recording.rendered, self._archive.model_hash, logit_scale)
        if (found := self._stored(recording.id, key)) is None:
            # Of many who arrive at once, one computes it.
            with self._lock:
                if (found := self._stored(recording.id, key)) is None:
                    found = self._computed(recording, logit_scale)
                    self._known[recording.id] = (key, found)
        return found

    def _stored(self, id: str, key: object) -> Insight | None:
        known = self._known.get(id)
        return known[1] if known is not None and known[0] == key else None

    def _computed(self, recording: Recording, logit_scale: float) -> Insight:
        clips = clips_of(self._archive, recording)
        names = self._archive.prompt_sets("phase")[:1]
        sets = embedded_sets(self._archive, names) if names else []
        drawn = shown_timeline(clips, sets, logit_scale, SMOOTH_S, recording.duration_s)
        return Insight(drawn.classes, drawn.phases, self._archive.foreign.why(recording))


def strip(phases: Sequence[Phase], classes: Sequence[str]) -> list[tuple[float, float, int]]:
    """Phases as (start_s, end_s, class index), for a small picture."""
    at = {name: number for number, name in enumerate(classes)}
    return [(round(each.start_s, 2), round(each.end_s, 2), at[each.name]) for each in phases]
