"""Case details with their history."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from surgvl.archive.database import Journal
from surgvl.archive.recording_table import RecordingTable
from surgvl.archive.records import Change, Details
from surgvl.core.checks import check_date
from surgvl.core.errors import ConfigError

FIELDS = tuple(field.name for field in fields(Details))
# Longest values, characters; only notes may have several lines.
LONGEST, LONGEST_NOTES = 200, 20_000


class DetailTable(Journal, RecordingTable):
    """Details by recording; the last valid change of a field counts."""

    def set_details(
        self,
        id: str,
        *,
        who: str,
        title: str | None = None,
        procedure: str | None = None,
        date: str | None = None,
        surgeon: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
    ) -> Details:
        """Change details of a recording; what is None stays.

        Args:
            id: the recording.
            who: the person.
            title: its name on the page.
            procedure: the operation.
            date: YYYY-MM-DD, YYYY-MM or YYYY.
            surgeon: a code.
            tags: words; they replace the present ones.
            notes: free text.

        Returns:
            The details after it.

        Raises:
            DataError: there is no such recording.
            ConfigError: a value is too long, or the date is none.
        """
        self.row(id)
        before = self.details(id)
        words = None if tags is None else tuple(dict.fromkeys(filter(None, map(str.strip, tags))))
        given = {"title": title, "procedure": procedure, "date": date, "surgeon": surgeon, "notes": notes}
        texts: dict[str, Any] = {name: _checked(name, value) for name, value in given.items() if value is not None}
        after = replace(before, **texts)
        if words is not None:
            after = replace(after, tags=tuple(_checked("tags", word) for word in words))
        changed = [name for name in FIELDS if vars(after)[name] != vars(before)[name]]
        if changed:
            with self.change(who, f"{', '.join(changed)} of {id}") as change:
                for name in changed:
                    self.insert_detail(change, id, name, vars(after)[name])
        return after

    def insert_detail(self, change: int, id: str, field: str, value: str | Sequence[str]) -> None:
        """Set a field as a part of a change; see `Journal.change`."""
        self.execute("INSERT INTO details VALUES (?, ?, ?, ?)", change, id, field, json.dumps(value))

    def details(self, id: str) -> Details:
        """The details of a recording."""
        return self.all_details(id).get(id, Details())

    def all_details(self, id: str = "") -> dict[str, Details]:
        """The details of each recording that has any, or of one."""
        query = "SELECT d.recording, d.field, d.value FROM details d JOIN valid c ON c.id = d.change"
        of_one = "WHERE d.recording = ?" if id else ""
        rows = self.select(f"{query} {of_one} ORDER BY c.made_s, c.id", *([id] if id else []))
        found: dict[str, dict[str, Any]] = {}
        for recording, name, value in rows:
            known = json.loads(value)
            found.setdefault(recording, {})[name] = tuple(known) if isinstance(known, list) else known
        return {name: replace(Details(), **values) for name, values in found.items()}

    def history(self, id: str) -> list[Change]:
        """All changes of details of a recording, the first one first; undone ones too."""
        self.row(id)
        query = """SELECT d.field, d.value, c.who, c.made_s, c.id IN (SELECT change FROM undone)
            FROM details d JOIN changes c ON c.id = d.change WHERE d.recording = ? ORDER BY c.made_s, c.id, d.rowid"""
        found = []
        for name, value, who, made_s, undone in self.select(query, id):
            known = json.loads(value)
            found.append(Change(name, tuple(known) if isinstance(known, list) else known, who, made_s, bool(undone)))
        return found


def _checked(name: str, value: str) -> str:
    text = value.strip()
    longest = LONGEST_NOTES if name == "notes" else LONGEST
    if len(text) > longest:
        raise ConfigError(f"{name} must have at most {longest:,} characters, got {len(text):,}: shorten it")
    if name != "notes" and any(letter < " " for letter in text):
        raise ConfigError(f"{name} must be one line, got {text[:40]!r}")
    if name == "date" and text:
        check_date("date", text)
    return text
