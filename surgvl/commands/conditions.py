"""Conditions on what `search`, `timeline` and `ask` take from an archive: the same flags, with the same meaning."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from surgvl.core.errors import ConfigError
from surgvl.retrieval.where import EVERYWHERE, Where

if TYPE_CHECKING:
    from surgvl.archive.archive import Archive

Spans = list[tuple[float, float]]


def chosen(where: Where, recordings: Iterable[str], procedure: str, source: str) -> Where:
    """The conditions of the flags --procedure, --source and --where, and of recordings that were named, if any."""
    return replace(
        where,
        recordings=tuple(recordings) or where.recordings,
        procedure=procedure or where.procedure,
        source=source or where.source,
    )


def resolved(archive: "Archive", where: Where) -> Where:
    """Conditions as an index understands them.

    Raises:
        ConfigError: nothing meets them.
    """
    found = archive.resolve(where)
    if () in (found.recordings, found.spans):
        raise nothing(archive, where)
    return found


def parts(archive: "Archive", where: Where) -> dict[str, Spans]:
    """The recordings that meet conditions, in the order in which they were added, and the spans that do, in seconds.

    Spans are ascending and disjoint; without conditions on times, there is one from 0 to the end.

    Raises:
        ConfigError: nothing meets them.
    """
    found, ready = resolved(archive, where), dict[str, Spans]()
    for recording in archive.recordings(where):
        spans = [(0.0, max(recording.duration_s, 0.001))]
        if found.spans is not None:
            spans = _merged((start_s, end_s) for id, start_s, end_s in found.spans if id == recording.id)
        if found.span_s is not None:
            low_s, high_s = found.span_s
            cut = [(max(start_s, low_s), min(end_s, high_s)) for start_s, end_s in spans]
            spans = [(start_s, end_s) for start_s, end_s in cut if start_s < end_s]
        if spans:
            ready[recording.id] = spans
    if not ready and where != EVERYWHERE:
        raise nothing(archive, where)
    return ready


def nothing(archive: "Archive", where: Where) -> ConfigError:
    """The error of conditions that nothing meets."""
    return ConfigError(f"nothing in {archive.folder} matches {where}: `surgvl archive list` shows what there is")


def needs_archive(where: Where) -> None:
    """Refuse conditions where no archive is given.

    Raises:
        ConfigError: there are some.
    """
    if where != EVERYWHERE:
        raise ConfigError(f"only an archive knows {where}: give --archive, or leave the conditions out")


def _merged(spans: Iterable[tuple[float, float]]) -> Spans:
    """The same seconds as ascending spans that neither overlap nor touch."""
    found: Spans = []
    for start_s, end_s in sorted(spans):
        if found and start_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(end_s, found[-1][1]))
        else:
            found.append((start_s, end_s))
    return found
