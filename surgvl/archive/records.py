"""What an archive knows: recordings with their case details, labels, saved clips, and the work on them.

Times that end in `_s` are seconds of the recording, except `added_s`, `made_s`, `begun_s` and `ended_s`, which are
seconds since 1970.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["waiting", "coarse", "embedded", "failed", "missing"]
JobState = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Details:
    """Case details, which people edit; all may be empty.

    Attributes:
        title: name of the recording on the page; its id if empty.
        procedure: such as `laparoscopic cholecystectomy`.
        date: of the operation, YYYY-MM-DD, YYYY-MM or YYYY.
        surgeon: a code, not a name.
        tags: free words.
        notes: free text.
    """

    title: str = ""
    procedure: str = ""
    date: str = ""
    surgeon: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True)
class Change:
    """An edit of a case detail, as the history has it; the value of `tags` is a tuple."""

    field: str
    value: str | tuple[str, ...]
    who: str
    made_s: float
    is_undone: bool = False


@dataclass(frozen=True)
class Recording:
    """A video of the archive.

    Attributes:
        id: unique in the archive; it stays when the file is moved, renamed or edited.
        path: the file, absolute.
        content: hash of its content, see `embed.recordings.identity`.
        size: of the file, bytes.
        fps: frames per second; 0 if the file cannot be read.
        duration_s: 0 if the file cannot be read.
        width: as displayed, pixels.
        height: as displayed, pixels.
        added_s: when it was added.
        state: `waiting` for its vectors; `coarse`: a few clips can be searched; `embedded`; `failed`: it cannot be
            read; `missing`: the file is gone.
        problem: one line, if it failed or frames are damaged.
        details: case details.
        source: data set or folder that it comes from.
        split: of a data set; usually empty.
        licence: of a data set; usually empty.
        rendered: whether a program rendered it, so that it shows no patient.
    """

    id: str
    path: Path
    content: str
    size: int
    fps: float
    duration_s: float
    width: int
    height: int
    added_s: float
    state: State
    problem: str = ""
    details: Details = field(default_factory=Details)
    source: str = ""
    split: str = ""
    licence: str = ""
    rendered: bool = False

    @property
    def title(self) -> str:
        """The title, or the id."""
        return self.details.title or self.id


@dataclass(frozen=True)
class Label:
    """What a person, or a data set, says about a range of a recording.

    Attributes:
        id: unique in the archive.
        recording: its id.
        track: `phase`, `step`, `tag`, `triplet`, ...
        name: the class.
        start_s: inclusive.
        end_s: exclusive.
        who: user, or `data set`.
        made_s: when.
        xywh: of a data set's box, as in `surgvl.data.tables.Segment`; empty without one.
    """

    id: int
    recording: str
    track: str
    name: str
    start_s: float
    end_s: float
    who: str
    made_s: float
    xywh: str = ""


@dataclass(frozen=True)
class SavedClip:
    """A range of a recording that a person keeps."""

    id: int
    recording: str
    start_s: float
    end_s: float
    title: str
    note: str
    who: str
    made_s: float


@dataclass(frozen=True)
class Job:
    """Long work that was asked for.

    Attributes:
        id: unique in the archive.
        kind: such as `add`.
        what: its arguments, a JSON value.
        state: where it is.
        done: work done so far, in the unit of `total`.
        total: all its work; 0 if unknown.
        problem: one line, if it failed.
        begun_s: when it began; None before.
        ended_s: when it ended; None before.
    """

    id: int
    kind: str
    what: object
    state: JobState
    done: float = 0.0
    total: float = 0.0
    problem: str = ""
    begun_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far adding is.

    Attributes:
        recording_id: the recording that is embedded.
        done_s: seconds of video done, in all recordings.
        total_s: seconds of video to embed.
        num_done: recordings done.
        num_total: recordings to embed.
    """

    recording_id: str
    done_s: float
    total_s: float
    num_done: int
    num_total: int


@dataclass(frozen=True)
class Report:
    """What adding did, by ids of recordings.

    Attributes:
        added: new ones.
        updated: ones whose content has changed.
        moved: known content at a new path.
        unchanged: known ones.
        copies: further files with the content of a recording, which are left out: path -> the recording.
        aside: files that were set aside: path -> why, in one line.
        stopped: whether it was told to stop before the end.
        embedded: known ones that had waited for their vectors, or could not be read before.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    copies: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    embedded: tuple[str, ...] = ()
