"""Filters of the page as conditions of a search; of several values of a kind one must hold, of tags all."""

from collections.abc import Callable, Iterable

from surgvl.archive.archive import Archive
from surgvl.archive.filters import resolve
from surgvl.archive.label_table import latest
from surgvl.archive.records import Recording
from surgvl.core.errors import ConfigError
from surgvl.demo.schemas import Conditions
from surgvl.retrieval.where import Segment, Where

PhasesOf = Callable[[Recording], Iterable[tuple[str, float, float]]]
# Longer than any recording.
FOREVER_S = 1e7


def where(archive: Archive, given: Conditions, phases_of: PhasesOf) -> Where:
    """Conditions for the index.

    Args:
        archive: the archive.
        given: as the page sends them; an empty list or text is not a condition.
        phases_of: (name, start_s, end_s) of the model's phases, for recordings whose phases nobody has labelled.

    Raises:
        ConfigError: an empty range.
    """
    span_s = None
    if given.start_s is not None or given.end_s is not None:
        span_s = (given.start_s or 0.0, FOREVER_S if given.end_s is None else given.end_s)
        if span_s[0] >= span_s[1]:
            raise ConfigError(f"the range must end after it starts, got {span_s[0]:g} to {span_s[1]:g} s")
    named = tuple(given.recordings) or None
    plain = Where(
        recordings=named, span_s=span_s, tags=tuple(given.tags), date_from=given.date_from, date_to=given.date_to
    )
    found = resolve(archive.catalogue, plain)
    for name in ("procedure", "source", "surgeon"):
        if values := vars(given)[name]:
            each = [resolve(archive.catalogue, Where(**{name: value})).recordings or () for value in values]
            found = found.resolved(recordings=dict.fromkeys(id for ids in each for id in ids))
    if given.phase:
        found = found.resolved(spans=_in_phases(archive, found, set(given.phase), phases_of))
    return found


def _in_phases(archive: Archive, where: Where, names: set[str], phases_of: PhasesOf) -> list[Segment]:
    """Spans in which people, or where nobody has said it the model, see one of these phases."""
    spans: list[Segment] = []
    for row in archive.recordings():
        if where.recordings is not None and row.id not in where.recordings:
            continue
        labels = [each for each in latest(archive.catalogue.labels(row.id)) if each.track == "phase"]
        said = [(each.name, each.start_s, each.end_s) for each in labels] or phases_of(row)
        spans += [(row.id, start_s, end_s) for name, start_s, end_s in said if name in names and start_s < end_s]
    return spans


def occurring(recordings: Iterable[Recording], phases: Iterable[str]) -> dict[str, list[str]]:
    """Values of the filters that occur, each sorted; phases in the order given."""
    rows = list(recordings)
    return {
        "procedure": sorted({each.details.procedure for each in rows} - {""}),
        "source": sorted({each.source for each in rows} - {""}),
        "surgeon": sorted({each.details.surgeon for each in rows} - {""}),
        "tags": sorted({tag for each in rows for tag in each.details.tags}),
        "phase": list(dict.fromkeys(phases)),
    }
