"""Zero-shot timeline of a recording from its stored vectors and prompts, to show or to save.

What is shown has the times of clips; a file that is saved has the times of frames, for which the recording is read.
Shapes: N clips, E embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from surgvl.archive.archive import Archive
from surgvl.archive.exporting import label_intervals
from surgvl.archive.label_table import EXCLUSIVE
from surgvl.archive.records import Label, Recording
from surgvl.core.arrays import Float32Array, Float64Array
from surgvl.core.errors import DataError
from surgvl.demo.schemas import Action, Phase
from surgvl.export.base import choose_format
from surgvl.export.interval_table import Interval, IntervalTable, Origin
from surgvl.export.zero_shot import ClassSet, ClipVectors, TimelineConfig, Track, interval_table, tracks
from surgvl.video.frame_times import FrameTimes

# Ends the names of tracks that hold what people say, beside those of the model.
LABELS = "_labels"


@dataclass(frozen=True)
class Download:
    """A file for a browser to save: its name, its content type, its bytes."""

    name: str
    content_type: str
    content: bytes


def clips_of(archive: Archive, recording: Recording) -> ClipVectors:
    """The clips of a recording, one after the other.

    Raises:
        DataError: it has no vectors yet.
    """
    vectors, start_s, end_s = archive.vectors_of(recording.id)
    if not len(vectors):
        raise DataError(f"{recording.title} is not embedded yet: its timeline comes with the first clips")
    preprocess = archive.space.meta.preprocess
    if preprocess is not None and recording.state == "embedded":
        return ClipVectors.of_segments(vectors, start_s, end_s, preprocess, causal=False)
    return _spread(vectors, (start_s + end_s) / 2)


def _spread(vectors: Float32Array, times_s: Float64Array) -> ClipVectors:
    """A few clips of a recording: what each says holds half the way to its neighbours."""
    begins_s = np.concatenate([[0.0], (times_s[1:] + times_s[:-1]) / 2])
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    return ClipVectors(vectors, times_s, begins_s, step_s)


@dataclass(frozen=True)
class Shown:
    """What a page draws: intervals on the clock of the clips."""

    classes: list[str]
    phases: list[Phase]
    actions: list[Action]


def shown_timeline(
    clips: ClipVectors, sets: Sequence[ClassSet], logit_scale: float, smooth_s: float, duration_s: float
) -> Shown:
    """Phases and actions of a recording, the same as in a saved file but for the rounding to frames.

    Args:
        clips: its clips.
        sets: prompt sets, at most one a task.
        logit_scale: factor of the cosines before the softmax.
        smooth_s: window of a centred moving average over the cosines; 0 for none.
        duration_s: of the recording.

    Raises:
        ConfigError: a negative window.
    """
    config = TimelineConfig(smooth_s=smooth_s)
    frames = FrameTimes(clips.begins_s, max(duration_s, float(clips.begins_s[-1])), 1 / clips.step_s)
    edges = np.arange(len(clips.begins_s) + 1)

    def intervals(track: Track) -> list[Interval]:
        return list(track.intervals(edges, frames, config.threshold))

    found = {each.name: each for each in tracks(clips, sets, logit_scale, config)}
    phases = [
        Phase(name=each.name, start_s=each.start_s, end_s=each.end_s, confidence=each.confidence)
        for each in (intervals(found["phase"]) if "phase" in found else [])
    ]
    actions = [
        Action(
            instrument=each.name.partition(",")[0],
            name=each.name,
            start_s=each.start_s,
            end_s=each.end_s,
            confidence=each.confidence,
        )
        for each in (_alone(intervals(found["triplet"])) if "triplet" in found else [])
    ]
    return Shown(found["phase"].classes if "phase" in found else [], phases, actions)


def _alone(rows: list[Interval]) -> list[Interval]:
    """Intervals of triplets of which those of one instrument do not overlap: the more confident one is kept whole."""
    kept: dict[str, list[Interval]] = {}
    for row in sorted(rows, key=lambda each: (-each.confidence, each.start_s)):
        lane = kept.setdefault(row.name.partition(",")[0], [])
        if all(row.end_s <= each.start_s or row.start_s >= each.end_s for each in lane):
            lane.append(row)
    return sorted((row for lane in kept.values() for row in lane), key=lambda each: (each.start_s, each.name))


class _BothOrigin(Origin):
    """Tracks of a model, and of people."""

    def lines(self) -> list[str]:
        """The same in words."""
        model = {track: name for track, name in self.prompt_sets.items() if not track.endswith(LABELS)}
        return [
            *Origin.lines(replace(self, prompt_sets=model)),
            f"Tracks that end in {LABELS} were set by people, or taken over from a data set; where phases of several "
            "people overlap, the latest counts.",
        ]


def with_labels(table: IntervalTable, labels: Sequence[Label]) -> IntervalTable:
    """A table of the model's tracks with those of labels behind them, such as `phase_labels`."""
    if not labels:
        return table
    names: dict[str, set[str]] = {}
    for each in labels:
        names.setdefault(each.track, set()).add(each.name)
    origin = vars(table.origin) | {
        "prompt_sets": table.origin.prompt_sets | {track + LABELS: "labels" for track in sorted(names)},
        "exclusive": (*table.origin.exclusive, *(track + LABELS for track in EXCLUSIVE if track in names)),
    }
    return replace(
        table,
        classes=table.classes | {track + LABELS: tuple(sorted(names[track])) for track in sorted(names)},
        origin=_BothOrigin(**origin),
        intervals=(*table.intervals, *label_intervals(table.frames, labels, LABELS)),
    )


def timeline_file(
    recording: Recording, clips: ClipVectors, sets: Sequence[ClassSet], logit_scale: float, smooth_s: float,
    model: str, labels: Sequence[Label], format: str,
) -> Download:  # fmt: skip
    """The timeline of a recording as a file, in one of the formats of `surgvl.export`; it names no folder.

    Args:
        recording: the recording.
        clips: its clips.
        sets: prompt sets of the tracks.
        logit_scale: factor of the cosines before the softmax.
        smooth_s: window of a centred moving average over the cosines; 0 for none.
        model: name of the model, as the file states it.
        labels: what people and data sets say, in tracks of their own.
        format: name of the format.

    Raises:
        ConfigError: no such format, or a negative window.
        DataError: the recording cannot be read.
    """
    kind, config = choose_format(format), TimelineConfig(smooth_s=smooth_s)
    table = with_labels(interval_table(recording.path, clips, sets, logit_scale, config, model), labels)
    name = PurePath(recording.path.name)
    table = replace(table, video_id=recording.id, media=name.name)
    return Download(f"{name.stem}{kind.suffix}", kind.content_type, kind.encode(table))
