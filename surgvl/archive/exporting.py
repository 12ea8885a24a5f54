"""An archive as files of other tools: labels, details and clips as tables, labels as timelines, all as a manifest.

labels.csv, details.csv, history.csv, clips.csv      everything that people entered, with who and when
labels/RECORDING.SUFFIX                              the labels of a recording in a format of `surgvl.export`
manifest/                                            what training and tests read
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from surgvl import video
from surgvl.archive.label_table import EXCLUSIVE, latest
from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Label, Recording
from surgvl.core.checks import check_choice
from surgvl.core.errors import DataError
from surgvl.core.files import below, write_text
from surgvl.core.run_folder import prepare_out
from surgvl.export.base import formats, write_table
from surgvl.export.interval_table import Interval, IntervalTable, Origin
from surgvl.video.frame_times import FrameTimes, frame_times

MANIFEST = "manifest"


@dataclass(frozen=True)
class LabelOrigin(Origin):
    """Labels that people set, or that came with a data set."""

    def lines(self) -> list[str]:
        """The same in words."""
        return [
            f"Labels of {self.model}, exported by surgvl {self.version}.",
            "Set by people, or taken over from a data set; where phases of several people overlap, the latest counts.",
            "Not for clinical use.",
        ]


def export(archive: OpenArchive, out: Path, names: Sequence[str], resume: bool) -> dict[str, str]:
    """Write the files.

    Args:
        archive: the archive; it is only read.
        out: folder to write.
        names: formats of the labels' timelines, and `manifest`.
        resume: write into a folder that is not empty.

    Returns:
        Recordings without a file of labels, because theirs cannot be read: id -> why.

    Raises:
        ConfigError: no such format, or the folder is not empty.
    """
    for name in names:
        check_choice("--formats", name, [*formats(), MANIFEST])
    prepare_out(out, resume)
    catalogue, recordings = archive.catalogue, archive.recordings()
    labels = catalogue.labels()
    marked = ("recording", "track", "name", "start_s", "end_s", "xywh", "who", "made")
    _write(out / "labels.csv", marked, ([*_of(each, marked[:-1]), _time(each.made_s)] for each in labels))
    _write(out / "details.csv", ("recording", "file", "duration_s", *_DETAILS), map(_details, recordings))
    edits = ((each.id, edit) for each in recordings for edit in catalogue.history(each.id))
    _write(
        out / "history.csv",
        ("recording", "field", "value", "who", "made", "undone"),
        ([id, edit.field, _text(edit.value), edit.who, _time(edit.made_s), edit.is_undone] for id, edit in edits),
    )
    cut = ("recording", "start_s", "end_s", "title", "note", "who", "made")
    _write(out / "clips.csv", cut, ([*_of(each, cut[:-1]), _time(each.made_s)] for each in catalogue.clips()))
    if MANIFEST in names:
        archive.manifest().save(out / MANIFEST)
    aside = {}
    kinds = [formats()[name] for name in names if name != MANIFEST]
    of_recording: dict[str, list[Label]] = {}
    for each in latest(labels) if kinds else []:
        of_recording.setdefault(each.recording, []).append(each)
    for recording in recordings:
        if own := of_recording.get(recording.id):
            try:
                table = label_table(recording, own, archive.name)
            except DataError as error:
                aside[recording.id] = str(error)
                continue
            for kind in kinds:
                write_table(table, out / "labels" / f"{below(recording.id)}{kind.suffix}", kind.name)
    return aside


def label_table(recording: Recording, labels: Sequence[Label], archive: str) -> IntervalTable:
    """The labels of a recording as a table of intervals, on frames of its file.

    Args:
        recording: the recording.
        labels: its labels; those shorter than a frame are left out.
        archive: its name.

    Raises:
        DataError: the file cannot be read.
    """
    frames, info = frame_times(recording.path), video.probe(recording.path)
    tracks = sorted({each.track for each in labels})
    return IntervalTable(
        video_id=recording.id,
        media=str(recording.path),
        width_px=info.width_px,
        height_px=info.height_px,
        frames=frames,
        classes={track: tuple(sorted({each.name for each in labels if each.track == track})) for track in tracks},
        origin=LabelOrigin(
            model=archive,
            prompt_sets={track: "labels" for track in tracks},
            exclusive=tuple(track for track in tracks if track in EXCLUSIVE),
            protocol="labels",
            step_s=0.0,
            smooth_s=0.0,
            threshold=0.0,
        ),
        intervals=label_intervals(frames, labels),
    )


def label_intervals(frames: FrameTimes, labels: Sequence[Label], suffix: str = "") -> tuple[Interval, ...]:
    """Labels by track and time, on frames of a file; those shorter than a frame are left out.

    Args:
        frames: times of its frames.
        labels: the labels.
        suffix: appended to the names of the tracks.
    """
    found = []
    for each in sorted(labels, key=lambda label: (label.track, label.start_s, label.end_s)):
        first, after = frames.first_from(each.start_s), frames.first_from(each.end_s)
        if first < after:
            times = frames.begin_s(first), frames.begin_s(after)
            found.append(Interval(each.track + suffix, each.name, *times, first, after - 1, 1.0, each.xywh))
    return tuple(found)


_DETAILS = ("title", "procedure", "date", "surgeon", "tags", "notes")


def _details(recording: Recording) -> list[object]:
    values = [_text(vars(recording.details)[name]) for name in _DETAILS]
    return [recording.id, recording.path, round(recording.duration_s, 3), *values]


def _of(row: object, names: Iterable[str]) -> list[object]:
    return [vars(row)[name] for name in names]


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(rows)
    write_text(path, text.getvalue())
