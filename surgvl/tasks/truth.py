"""The truth as tasks read it from a manifest: labelled videos and seconds, classes, and their time in training."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from surgvl.core.arrays import Float64Array
from surgvl.core.ontology import class_kind, is_rater, rated_kind
from surgvl.core.plurals import part_of

ClassesOf = Callable[[str, str], Sequence[str]]
"""(kind of label, name of a data set) -> its published classes in their order; empty where it has no list."""


class Labels(Protocol):
    """The part of `surgvl.data.manifest.Manifest` that is used here."""

    segment_table: Any
    qa_table: Any

    @property
    def videos(self) -> Any:
        """A row for each video."""

    def split(self, name: str) -> "Labels":
        """The videos of one split."""

    def video_ids(self, split: str | None = None) -> list[str]:
        """Ids of one split or of all."""

    def select(self, video_ids: Sequence[str]) -> "Labels":
        """The given videos only."""

    def second_labels(self, task: str, video_ids: Sequence[str], times_s: Any) -> list[list[str]]:
        """Labels that cover each (video, time)."""

    def __contains__(self, video_id: object) -> bool: ...


def labelled_videos(labels: Labels, kind: str) -> set[str]:
    """Ids of the videos that have labels of a kind, or were looked at for it."""
    table = labels.segment_table
    kinds = pa.array([kind, rated_kind(kind)], pa.string())
    return set(table.filter(pc.is_in(table["task"], value_set=kinds))["video_id"].to_pylist())


def training_seconds(
    train: Labels | None, kind: str, spelt: Mapping[str, str], datasets: Collection[str]
) -> dict[str, float]:
    """Seconds of each class in the training videos of some data sets; empty without training videos.

    Of kinds in `WHOLE`, it is the number of videos of each class: a long one counts once.

    Args:
        train: the training split.
        kind: of label.
        spelt: label -> class; other labels are left out.
        datasets: names of the data sets.
    """
    if train is None:
        return {}
    videos = pa.array([row.video_id for row in train.videos if row.data_set in datasets], pa.string())
    table = train.segment_table
    table = table.filter(pc.and_(pc.equal(table["task"], kind), pc.is_in(table["video_id"], value_set=videos)))
    spans = table["end_s"].to_numpy() - table["start_s"].to_numpy()
    if kind in WHOLE:
        spans = np.ones(len(spans))
    found: dict[str, float] = {}
    for label, span in zip(table["label"].to_pylist(), spans.tolist(), strict=True):
        if label in spelt:
            found[spelt[label]] = found.get(spelt[label], 0.0) + span
    return found


WHOLE = ("clip", "experience", "skill_class")
"""Kinds of which a video has one label, over all of it, see `surgvl.tasks.video_class`."""
EXCLUSIVE = ("phase", "step", "gesture", "cvs_score", *WHOLE)
"""Kinds of which a moment has one label.

One without any, or with two where published segments overlap, is not annotated; of other kinds, nothing is there.
Two of a kind in `WHOLE` are an error.
"""


def labels_at(labels: Labels, kind: str, video_ids: Sequence[str], times_s: Float64Array) -> list[list[str]]:
    """Labels of moments [N]; of kinds in `WHOLE`, those of the video, whose length may not be known."""
    return labels.second_labels(kind, video_ids, np.zeros(len(times_s)) if kind in WHOLE else times_s)


def were_annotated(
    labels: Labels, kind: str, video_ids: Sequence[str], times_s: Any, found: Sequence[Sequence[str]]
) -> list[bool]:
    """Whether the labels of a kind say what each moment shows, nothing being an answer, too.

    A moment with a label does. Of kinds in `EXCLUSIVE`, one without any does not, nor does one with several, of which
    only one can hold. Of the rest they do, unless the video states which moments annotators looked at
    (`surgvl.core.ontology.rated_kind`), as where key frames are labelled.

    Args:
        labels: the videos.
        kind: of label.
        video_ids: [N] video of each moment.
        times_s: [N] its time.
        found: [N] its labels.
    """
    if kind in EXCLUSIVE:
        return [len(own) == 1 or (len(own) > 1 and kind in WHOLE) for own in found]
    table = labels.segment_table
    stated = set(table.filter(pc.equal(table["task"], rated_kind(kind)))["video_id"].to_pylist())
    looked_at = labels.second_labels(rated_kind(kind), list(video_ids), times_s) if stated else [[]] * len(found)
    return [
        bool(own or here or name not in stated) for own, here, name in zip(found, looked_at, video_ids, strict=True)
    ]


def seconds_to_score(labels: Labels, kind: str) -> tuple[list[str], Float64Array, list[list[str]]]:
    """The whole seconds of the videos with labels of a kind that were annotated for it, see `were_annotated`.

    Of kinds in `WHOLE`, a video has one moment.

    Returns:
        For each its video, its time in seconds, float64 [N], and its labels.
    """
    ids, times_s = [], []
    wanted = labelled_videos(labels, kind)
    for row in labels.videos:
        if row.video_id in wanted:
            seconds = np.arange(1 if kind in WHOLE else math.ceil(row.duration_s), dtype=np.float64)
            ids += [row.video_id] * len(seconds)
            times_s.append(seconds)
    times = np.concatenate(times_s) if times_s else np.zeros(0)
    found = labels.second_labels(kind, ids, times)
    kept = np.flatnonzero(were_annotated(labels, kind, ids, times, found)).tolist()
    return [ids[at] for at in kept], times[kept], [found[at] for at in kept]


def rater_labels(
    labels: Labels, kind: str, video_ids: Sequence[str], times_s: Float64Array
) -> list[list[list[str] | None]]:
    """For each rater of a kind, such as `cvs_rater_1`, the labels of moments [N]; None where nobody rated it."""
    kinds = sorted(each for each in pc.unique(labels.segment_table["task"]).to_pylist() if is_rater(each, kind))
    if not kinds:
        return []
    rated = labels.second_labels(rated_kind(kind), video_ids, times_s)
    return [
        [own if here else None for own, here in zip(labels.second_labels(each, video_ids, times_s), rated, strict=True)]
        for each in kinds
    ]


def num_undecided(kind: str, found: Sequence[Sequence[str]]) -> int:
    """How many moments have several labels of a kind of which one holds."""
    return sum(len(own) > 1 for own in found) if kind in EXCLUSIVE and kind not in WHOLE else 0


def undecided_note(kind: str, found: Sequence[Sequence[str]]) -> str:
    """The same in words; empty if there are none."""
    count = num_undecided(kind, found)
    return f"{part_of(count, len(found), 'moment', 'has')} two {kind} labels at once, left out" if count else ""


def class_list(labels: Labels, kind: str, datasets: Collection[str], published: ClassesOf) -> list[str]:
    """The classes of a kind: as the data sets publish them, or the labels that occur, sorted.

    Args:
        labels: of all splits.
        kind: of label.
        datasets: names of the data sets, which share a list.
        published: (kind, name of a data set) -> its classes in their order; empty where it has no list.
    """
    videos = pa.array([row.video_id for row in labels.videos if row.data_set in datasets], pa.string())
    table = labels.segment_table
    table = table.filter(pc.and_(pc.equal(table["task"], kind), pc.is_in(table["video_id"], value_set=videos)))
    there = set(pc.unique(table["label"]).to_pylist())
    known = list(published(class_kind(kind), next(iter(sorted(datasets)))))
    return known if there <= set(known) else sorted(there)


def class_groups(manifest: Labels, test: Labels, kind: str, published: ClassesOf) -> dict[tuple[str, ...], set[str]]:
    """The videos with labels of a kind, by the classes of their data set.

    Args:
        manifest: labels of all splits.
        test: the videos to group.
        kind: of label.
        published: classes of a data set.
    """
    labelled = labelled_videos(test, kind)
    groups: dict[tuple[str, ...], set[str]] = {}
    for dataset in sorted({row.data_set for row in test.videos if row.video_id in labelled}):
        videos = {row.video_id for row in test.videos if row.data_set == dataset} & labelled
        groups.setdefault(tuple(class_list(manifest, kind, {dataset}, published)), set()).update(videos)
    return groups
