"""Labels of a probe at the moment of a clip: one class, several classes or a number, each kind of label with a head.

`instrument`, `verb` and `target` are the parts of the triplets (CholecT50, Nwoye et al., arXiv 2109.03223) where a
manifest has triplets. Shapes: N clips, C classes.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.ontology import PARTS, TRIPLET_NAMES
from surgvl.data.manifest import Manifest
from surgvl.tasks.truth import labelled_videos, undecided_note, were_annotated

Kind = Literal["one", "many", "number"]
# What is read out if nothing else is asked for.
HEADS = ("phase", *PARTS)
# Several of these may hold at a moment; all others but skill are one class at a time.
MANY = ("tool", "triplet", "cvs", "cvs_rater_1", "cvs_rater_2", "cvs_rater_3", *PARTS, "action")
Truth = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Head:
    """What is read out of a clip for one kind of label.

    Attributes:
        name: kind of label, such as `phase`.
        kind: `one` class at a time, `many`, or a `number`.
        classes: class names [C]; of a number, its name alone.
        mean: of a number's training labels; the head predicts the difference from it, in standard deviations.
        std: their standard deviation.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    mean: float = 0.0
    std: float = 1.0

    @property
    def size(self) -> int:
        """C, the number of outputs."""
        return len(self.classes)


def kind_of(name: str) -> Kind:
    """How labels of this kind exclude one another: scores of skill are numbers, classes of skill are not."""
    if name == "skill" or (name.startswith("skill_") and name != "skill_class"):
        return "number"
    return "many" if name in MANY else "one"


def heads_of(table: Manifest, names: Sequence[str] = (), training: Collection[str] | None = None) -> list[Head]:
    """The heads for labels of a manifest.

    Args:
        table: all videos; classes without a fixed list are those of its labels.
        names: kinds of labels; by default, those of `HEADS` that it has.
        training: ids of the training videos, from which mean and deviation of numbers are taken; None for all.

    Raises:
        ConfigError: it lacks one that is named.
        DataError: it has none, or a label of skill is not a number.
    """
    there = {row.task for row in table.segments}
    has = there | (set(PARTS) if "triplet" in there else set())
    if lost := [name for name in names if name not in has]:
        raise ConfigError(
            f"--heads {lost[0]}: the manifest has labels of {', '.join(sorted(has)) or 'no kind'}: give one of these"
        )
    found = []
    for name in names or [name for name in HEADS if name in has]:
        kind, fixed = kind_of(name), {"triplet": TRIPLET_NAMES}.get(name, ())
        if "triplet" in there and name in PARTS:
            fixed = PARTS[name]
        labels = sorted({row.label for row in table.segments if row.task == name})
        if kind == "number":
            rows = [row for row in table.segments if row.task == name and (not training or row.video_id in training)]
            values = [_number(row.video_id, row.label) for row in rows] or [0.0]
            found.append(Head(name, kind, (name,), float(np.mean(values)), float(np.std(values)) or 1.0))
        elif name == "triplet" and not set(labels) <= set(fixed):
            found.append(Head(name, kind, tuple(labels)))
        else:
            found.append(Head(name, kind, fixed or tuple(labels)))
    if not found:
        raise DataError("no training video has phases or triplets: check the manifest, or name others by --heads")
    return found


def truth_of(table: Manifest, heads: Sequence[Head], video_ids: Sequence[str], times_s: Sequence[float]) -> Truth:
    """Labels as numbers.

    Args:
        table: the videos and their labels.
        heads: the kinds of labels.
        video_ids: [N].
        times_s: [N], moments, seconds.

    Returns:
        By head: of one class int64 [N], -1 where unknown or where published segments overlap; of many int64 [N, C] of
        0 and 1, -1 for videos without such labels and moments that nobody looked at (any other clip without a label
        shows none); of a number float32 [N], in its standard deviations from its mean, NaN where unknown.

    Raises:
        DataError: two classes at once where one may hold, a class that the head does not have, or a triplet whose parts
            are unknown.
    """
    truth: Truth = {}
    has_triplets = bool(labelled_videos(table, "triplet"))
    for head in heads:
        of_triplets = head.name in PARTS and has_triplets
        task = "triplet" if of_triplets else head.name
        rows = table.second_labels(task, video_ids, times_s)
        if of_triplets:
            at = list(PARTS).index(head.name)
            rows = [[_parts(label)[at] for label in labels] for labels in rows]
        there = labelled_videos(table, task)
        moments = were_annotated(table, task, video_ids, times_s, rows)
        annotated = np.array([known and name in there for known, name in zip(moments, video_ids, strict=True)], bool)
        truth[head.name] = READ[head.kind](head, rows, annotated)
    return truth


def undecided_notes(table: Manifest, heads: Sequence[Head]) -> list[str]:
    """For each kind of label of which one holds, how many of the videos' seconds have several, in words."""
    ids = [row.video_id for row in table.videos for _ in range(math.ceil(row.duration_s))]
    times_s = [float(second) for row in table.videos for second in range(math.ceil(row.duration_s))]
    return [note for head in heads if (note := undecided_note(head.name, table.second_labels(head.name, ids, times_s)))]


def _one(head: Head, rows: Sequence[Sequence[str]], annotated: NDArray[np.bool_]) -> NDArray[np.int64]:
    found = np.full(len(rows), -1, np.int64)
    for row, names in enumerate(rows):
        if not annotated[row]:
            continue
        if len(names) > 1:
            raise DataError(f"one moment is in two classes of {head.name}, {' and '.join(names)}: correct the segments")
        if names:
            found[row] = _class(head, names[0])
    return found


def _many(head: Head, rows: Sequence[Sequence[str]], annotated: NDArray[np.bool_]) -> NDArray[np.int64]:
    found = np.where(annotated[:, None], np.zeros((len(rows), head.size), np.int64), -1)
    for row, names in enumerate(rows):
        for name in names:
            found[row, _class(head, name)] = 1
    return found


def _numbers(head: Head, rows: Sequence[Sequence[str]], annotated: NDArray[np.bool_]) -> NDArray[np.float32]:
    values = [_number(head.name, names[0]) if len(names) == 1 else np.nan for names in rows]
    return np.asarray((np.array(values, np.float64) - head.mean) / head.std, np.float32)


READ: dict[str, Callable[[Head, Sequence[Sequence[str]], NDArray[np.bool_]], NDArray[Any]]] = {
    "one": _one,
    "many": _many,
    "number": _numbers,
}


def _class(head: Head, name: str) -> int:
    if name not in head.classes:
        raise DataError(f"{head.name} {name!r} is not a class of the training videos: give them the same labels")
    return head.classes.index(name)


def _number(where: str, label: str) -> float:
    try:
        return float(label)
    except ValueError as error:
        raise DataError(f"label {label!r} of {where} must be a number, such as 22: correct the segments") from error


def _parts(label: str) -> list[str]:
    parts = label.split(",")
    if len(parts) != len(PARTS) or any(part not in names for part, names in zip(parts, PARTS.values(), strict=True)):
        raise DataError(f"triplet {label!r} is not `instrument,verb,target` in CholecT50's words: correct the segments")
    return parts


def known(truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Which clips have a label, bool [N]."""
    if truth.dtype.kind == "f":
        return np.asarray(np.isfinite(truth))
    return np.asarray((truth >= 0) if truth.ndim == 1 else (truth >= 0).all(1))


def labelled(truth: Truth) -> NDArray[np.bool_]:
    """Which clips have a label of any of these kinds, bool [N]: those that training passes over."""
    return np.asarray(np.logical_or.reduce([known(labels) for labels in truth.values()]))
