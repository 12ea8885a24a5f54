"""Labels over time, and saved clips: who said what of which range, and when."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from surgvl.archive.database import Journal
from surgvl.archive.recording_table import RecordingTable
from surgvl.archive.records import Label, SavedClip
from surgvl.core.class_names import class_name
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.times import clock

# Tracks with one class at a time: a new label cuts what it covers.
EXCLUSIVE = ("phase", "step")
LONGEST = 200
# A recording's length is known to about a frame.
_SLACK_S = 0.5
_LIVE = """FROM {kind}s l JOIN valid c ON c.id = l.change WHERE NOT EXISTS (
    SELECT 1 FROM removed_{kind}s r JOIN valid v ON v.id = r.change WHERE r.{kind} = l.id)"""


class NewLabel(NamedTuple):
    """A label to add; see `Label`."""

    recording: str
    track: str
    name: str
    start_s: float
    end_s: float
    xywh: str = ""


def new_of(label: Label, recording: str) -> NewLabel:
    """The same label of a recording that has this id, to add it elsewhere."""
    return NewLabel(recording, label.track, label.name, label.start_s, label.end_s, label.xywh)


class LabelTable(Journal, RecordingTable):
    """Labels and clips; each change by a person can be undone."""

    def add_label(self, id: str, track: str, name: str, start_s: float, end_s: float, who: str) -> int:
        """Label a range of a recording.

        A phase or step replaces what the same person said about that range on the same track.

        Args:
            id: the recording.
            track: `phase`, `step`, `tag`, `triplet`, ...
            name: the class.
            start_s: seconds.
            end_s: seconds; at most the recording's end.
            who: the person.

        Returns:
            The label's id.

        Raises:
            DataError: there is no such recording.
            ConfigError: an empty range or one beyond the end, or an empty word.
        """
        start_s, end_s = self._range(id, start_s, end_s)
        track, name = _word("the track", track), _word("the label", name)
        with self.change(
            who, f"{track} {class_name(track, name)!r} of {id} from {clock(start_s)} to {clock(end_s)}"
        ) as change:
            if track in EXCLUSIVE:
                self._cut(change, id, track, start_s, end_s, who)
            return self.insert_label(change, NewLabel(id, track, name, start_s, end_s))

    def add_labels(self, labels: Iterable[NewLabel], who: str, what: str) -> None:
        """Add many labels, such as a data set's, as one change; none is cut."""
        rows = list(labels)
        if rows:
            with self.change(who, what) as change:
                for each in rows:
                    self.insert_label(change, each)

    def ever_labelled(self) -> set[tuple[str, str, str, float, float, str, str, float]]:
        """Every label that there was, with who and when: removed and undone ones too."""
        return set(
            self.select(
                "SELECT l.recording, l.track, l.name, l.start_s, l.end_s, l.xywh, c.who, c.made_s FROM labels l "
                "JOIN changes c ON c.id = l.change"
            )
        )

    def remove_label(self, label_id: int, who: str) -> None:
        """Remove a label, whoever added it.

        Raises:
            DataError: there is no such label.
        """
        found = self._labels("AND l.id = ?", label_id)
        if not found:
            raise DataError(f"the archive has no label {label_id}: it may be removed already")
        row = found[0]
        said = class_name(row.track, row.name)
        with self.change(who, f"removal of {row.track} {said!r} of {row.recording}") as change:
            self.execute("INSERT INTO removed_labels VALUES (?, ?)", label_id, change)

    def labels(self, id: str | None = None) -> list[Label]:
        """Labels of a recording by start, or of all."""
        if id is None:
            return self._labels("ORDER BY l.recording, l.start_s, l.end_s, l.id")
        return self._labels("AND l.recording = ? ORDER BY l.start_s, l.end_s, l.id", id)

    # ---- saved clips

    def add_clip(self, id: str, start_s: float, end_s: float, title: str, note: str, who: str) -> int:
        """Keep a range of a recording. Returns the clip's id.

        Raises:
            DataError: there is no such recording.
            ConfigError: an empty range or one beyond the end.
        """
        start_s, end_s = self._range(id, start_s, end_s)
        title, note = _free("the title", title), _free("the note", note)
        with self.change(who, f"clip of {id} from {clock(start_s)} to {clock(end_s)}") as change:
            return self.insert_clip(change, id, start_s, end_s, title, note)

    def insert_clip(self, change: int, id: str, start_s: float, end_s: float, title: str, note: str) -> int:
        """Add a clip as a part of a change."""
        names, marks = "change, recording, start_s, end_s, title, note", "?, ?, ?, ?, ?, ?"
        return self.execute(f"INSERT INTO clips ({names}) VALUES ({marks})", change, id, start_s, end_s, title, note)

    def remove_clip(self, clip_id: int, who: str) -> None:
        """Remove a saved clip.

        Raises:
            DataError: there is no such clip.
        """
        found = self.clip(clip_id)
        with self.change(who, f"removal of a clip of {found.recording}") as change:
            self.execute("INSERT INTO removed_clips VALUES (?, ?)", clip_id, change)

    def rewrite_clip(self, clip_id: int, title: str, note: str, who: str) -> int:
        """Give a saved clip another title and note. Returns its new id: the old words stay in the journal.

        Raises:
            DataError: there is no such clip.
            ConfigError: a title or note that is too long.
        """
        found, title, note = self.clip(clip_id), _free("the title", title), _free("the note", note)
        with self.change(who, f"words of a clip of {found.recording}") as change:
            self.execute("INSERT INTO removed_clips VALUES (?, ?)", clip_id, change)
            return self.insert_clip(change, found.recording, found.start_s, found.end_s, title, note)

    def ever_kept(self) -> set[tuple[str, float, float, str, str, str, float]]:
        """Every clip that there was, with who and when: removed and undone ones too."""
        return set(
            self.select(
                "SELECT l.recording, l.start_s, l.end_s, l.title, l.note, c.who, c.made_s FROM clips l "
                "JOIN changes c ON c.id = l.change"
            )
        )

    def clip(self, clip_id: int) -> SavedClip:
        """A saved clip.

        Raises:
            DataError: there is none of this id.
        """
        for each in self.clips():
            if each.id == clip_id:
                return each
        raise DataError(f"the archive has no clip {clip_id}: it may be removed already")

    def clips(self, id: str | None = None) -> list[SavedClip]:
        """Saved clips, the newest first: of a recording, or all."""
        query = f"""SELECT l.id, l.recording, l.start_s, l.end_s, l.title, l.note, c.who, c.made_s
            {_LIVE.format(kind="clip")} {"" if id is None else "AND l.recording = ?"} ORDER BY l.id DESC"""
        return [SavedClip(*row) for row in self.select(query, *([] if id is None else [id]))]

    # ----

    def _range(self, id: str, start_s: float, end_s: float) -> tuple[float, float]:
        whole_s = self.row(id).duration_s
        if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s):
            raise ConfigError(f"a range must be 0 <= start_s < end_s, got {start_s:g} to {end_s:g}")
        if whole_s and (start_s >= whole_s or end_s > whole_s + _SLACK_S):
            raise ConfigError(f"{id} ends at {whole_s:.1f} s: a range must lie in it, got {start_s:g} to {end_s:g}")
        return start_s, min(end_s, whole_s) if whole_s else end_s

    def insert_label(self, change: int, label: NewLabel) -> int:
        """Add a label as a part of a change; see `Journal.change`."""
        names = "change, recording, track, name, start_s, end_s, xywh"
        return self.execute(f"INSERT INTO labels ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", change, *label)

    def _cut(self, change: int, id: str, track: str, start_s: float, end_s: float, who: str) -> None:
        """Remove the person's labels of a track where they overlap a range; what lies outside of it stays."""
        overlap = "AND l.recording = ? AND l.track = ? AND c.who = ? AND l.start_s < ? AND l.end_s > ?"
        for old in self._labels(overlap, id, track, who, end_s, start_s):
            self.execute("INSERT INTO removed_labels VALUES (?, ?)", old.id, change)
            for piece_start_s, piece_end_s in ((old.start_s, start_s), (end_s, old.end_s)):
                if piece_start_s < piece_end_s:
                    self.insert_label(change, NewLabel(id, track, old.name, piece_start_s, piece_end_s, old.xywh))

    def _labels(self, where: str, *values: object) -> list[Label]:
        query = f"""SELECT l.id, l.recording, l.track, l.name, l.start_s, l.end_s, c.who, c.made_s, l.xywh
            {_LIVE.format(kind="label")} {where}"""
        return [Label(*row) for row in self.select(query, *values)]


def latest(labels: Sequence[Label]) -> list[Label]:
    """Labels of several people as one set: on an exclusive track of a recording, the later label covers earlier ones.

    Returns:
        By recording, track and start.
    """
    kept: list[Label] = []
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for label in sorted(labels, key=lambda each: (each.made_s, each.id), reverse=True):
        if label.track not in EXCLUSIVE:
            kept.append(label)
            continue
        spans = taken.setdefault((label.recording, label.track), [])
        rest = [(label.start_s, label.end_s)]
        for start_s, end_s in spans:
            sides = [((a, min(b, start_s)), (max(a, end_s), b)) for a, b in rest]
            rest = [(low, high) for pair in sides for low, high in pair if low < high]
        is_whole = rest == [(label.start_s, label.end_s)]
        kept += [label] if is_whole else [replace(label, start_s=start_s, end_s=end_s) for start_s, end_s in rest]
        spans.append((label.start_s, label.end_s))
    return sorted(kept, key=lambda each: (each.recording, each.track, each.start_s, each.end_s, each.name, each.id))


def _word(what: str, text: str) -> str:
    word = text.strip()
    if not word or len(word) > LONGEST or any(letter < " " for letter in word):
        raise ConfigError(f"{what} must be one line of 1 to {LONGEST} characters, got {text[:40]!r}")
    return word


def _free(what: str, text: str) -> str:
    if len(text) > 10 * LONGEST:
        raise ConfigError(f"{what} must have at most {10 * LONGEST:,} characters, got {len(text):,}")
    return text.strip()
