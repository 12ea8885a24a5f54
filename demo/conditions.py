"""Filters of the page as conditions of a search: case details and labels become recordings and spans."""

from collections.abc import Callable, Iterable

from surgvl.archive.archive import Archive
from surgvl.archive.label_table import latest
from surgvl.archive.records import Recording
from surgvl.core.errors import ConfigError
from surgvl.demo.schemas import Conditions
from surgvl.retrieval.where import Segment, Where

PhasesOf = Callable[[Recording], Iterable[tuple[str, float, float]]]


def where(archive: Archive, given: Conditions, phases_of: PhasesOf) -> Where:
    """Conditions for the index.

    Args:
        archive: the archive.
        given: as the page sends them; of several values of a kind, one must hold, of tags all.
        phases_of: (name, start_s, end_s) of the model's phases, for recordings that nobody has labelled.

    Raises:
        ConfigError: an empty range.
    """
    found = [each for each in archive.recordings() if _fits(each, given)]
    span_s = None
    if given.start_s is not None or given.end_s is not None:
        span_s = (given.start_s or 0.0, given.end_s if given.end_s is not None else 1e7)
        if span_s[0] >= span_s[1]:
            raise ConfigError(f"the range must end after it starts, got {span_s[0]:g} to {span_s[1]:g} s")
    spans: tuple[Segment, ...] | None = None
    if given.phase:
        spans = tuple(span for each in found for span in _in_phase(archive, each, set(given.phase), phases_of))
    is_all = not any(
        vars(given)[name] for name in ("recordings", "procedure", "source", "tags", "surgeon", "date_from")
    )
    ids = None if is_all and not given.date_to else tuple(each.id for each in found)
    return Where(recordings=ids, span_s=span_s, spans=spans)


def occurring(recordings: Iterable[Recording], phases: Iterable[str]) -> dict[str, list[str]]:
    """Values of the filters that occur, each sorted."""
    rows = list(recordings)
    return {
        "procedure": sorted({each.details.procedure for each in rows} - {""}),
        "source": sorted({each.source for each in rows} - {""}),
        "surgeon": sorted({each.details.surgeon for each in rows} - {""}),
        "tags": sorted({tag for each in rows for tag in each.details.tags}),
        "phase": list(dict.fromkeys(phases)),
    }


def _fits(recording: Recording, given: Conditions) -> bool:
    details = recording.details
    pairs = (
        (given.recordings, recording.id),
        (given.procedure, details.procedure),
        (given.source, recording.source),
        (given.surgeon, details.surgeon),
    )
    # Dates that are known to the month or year alone are compared as far as they go.
    begins, ends = details.date or "0", details.date or "~"
    return (
        all(not allowed or value in allowed for allowed, value in pairs)
        and set(given.tags) <= set(details.tags)
        and (not given.date_from or begins >= given.date_from[: len(begins)])
        and (not given.date_to or ends <= given.date_to)
    )


def _in_phase(archive: Archive, recording: Recording, names: set[str], phases_of: PhasesOf) -> Iterable[Segment]:
    labels = [each for each in latest(archive.catalogue.labels(recording.id)) if each.track == "phase"]
    rows = [(each.name, each.start_s, each.end_s) for each in labels] or phases_of(recording)
    return [(recording.id, start_s, end_s) for name, start_s, end_s in rows if name in names and start_s < end_s]
