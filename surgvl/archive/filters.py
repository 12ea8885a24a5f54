"""Conditions on case details and labels, as an index understands them: recordings and spans."""

from collections.abc import Iterable
from dataclasses import replace

from surgvl.archive.catalogue import Catalogue
from surgvl.archive.label_table import latest
from surgvl.archive.recording_table import FileRow
from surgvl.archive.records import Details
from surgvl.retrieval.where import Segment, Where


def resolve(catalogue: Catalogue, where: Where) -> Where:
    """The same conditions without those that only an archive can answer.

    Procedure and source are the catalogue's, too: an index knows those of the day on which it was written.
    """
    recordings, spans = None, None
    if where.procedure or where.source or where.surgeon or where.date_from or where.date_to:
        details = catalogue.all_details()
        rows = catalogue.rows()
        recordings = [row.id for row in rows if _fits(row, details.get(row.id, Details()), where)]
    if where.phase:
        spans = [
            (each.recording, each.start_s, each.end_s)
            for each in latest(catalogue.labels())
            if (each.track, each.name) == ("phase", where.phase)
        ]
    found = replace(where, procedure="", source="").resolved(recordings, spans)
    for tag in where.tags:
        found = found.resolved(spans=_tagged(catalogue, tag))
    return found


def admitted(catalogue: Catalogue, where: Where) -> set[str]:
    """Ids of the recordings of which at least a part meets the conditions."""
    found, rows = resolve(catalogue, where), catalogue.rows()
    ids = {row.id for row in rows} & set(found.recordings if found.recordings is not None else [row.id for row in rows])
    span_s = found.span_s or (0.0, float("inf"))
    if found.spans is not None:
        ids &= {id for id, start_s, end_s in found.spans if start_s < span_s[1] and end_s > span_s[0]}
    return ids - {row.id for row in rows if row.duration_s <= span_s[0] and found.span_s}


def _fits(row: FileRow, details: Details, where: Where) -> bool:
    if (where.procedure and details.procedure != where.procedure) or (where.source and row.source != where.source):
        return False
    if where.surgeon and details.surgeon != where.surgeon:
        return False
    if not (where.date_from or where.date_to):
        return True
    if not details.date:
        return False
    # A date may be a month or a year: it fits if any of its days does. ISO dates are ordered as texts.
    first, last = (details.date + rest[len(details.date) :] for rest in ("0000-01-01", "9999-12-31"))
    return last >= where.date_from and (not where.date_to or first <= where.date_to + "9")


def _tagged(catalogue: Catalogue, tag: str) -> Iterable[Segment]:
    """Whole recordings that have a tag, and spans that are labelled with it."""
    details = catalogue.all_details()
    for row in catalogue.rows():
        if tag in details.get(row.id, Details()).tags:
            yield row.id, 0.0, max(row.duration_s, 1.0)
    for label in catalogue.labels():
        if (label.track, label.name) == ("tag", tag):
            yield label.recording, label.start_s, label.end_s
