"""Predictions that name videos and classes as their own code does, and state the truth: SurgVISTA's and SurgRec's.

Videos are found by id, by their number (`41` is `video41`) or, if a row is a whole clip, by the file's name up to its
first dot. Ids of classes count in the published order of the data set. That all of this is right is shown by the truth
in the file: every label of the manifest must agree with it.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from surgvl.core.errors import DataError
from surgvl.core.predictions import Predictions
from surgvl.tasks.predicted_classes import class_key
from surgvl.tasks.truth import WHOLE, ClassesOf, Labels, class_list, labelled_videos, were_annotated


def by_name(
    path: Path, predictions: Predictions, manifest: Labels, kinds: Sequence[str], published: ClassesOf
) -> Predictions:
    """The same predictions with the ids of videos and the names of classes that the manifest has.

    Args:
        path: of the file, for messages.
        predictions: as they were read; those without a truth of their own stay as they are.
        manifest: labels of all splits.
        kinds: kinds of label that can be scored.
        published: classes of a data set.

    Raises:
        DataError: a video is unknown, no kind of label has these classes, or the truth is not that of the manifest.
    """
    if not predictions.truth:
        return predictions
    known = _Videos(manifest.video_ids(), predictions.whole)
    own = {name: known.find(name, path) for name in dict.fromkeys(predictions.video_ids)}
    found = dataclasses.replace(predictions, video_ids=[own[name] for name in predictions.video_ids])
    mine = set(own.values())
    datasets = {row.data_set for row in manifest.videos if row.video_id in mine}
    found = _with_classes(path, found, manifest, kinds, datasets, published)
    _check_truth(path, found, manifest)
    return found


class _Videos:
    """The videos of a manifest by the names that files give them."""

    def __init__(self, ids: Sequence[str], whole: bool) -> None:
        self.ids, self.whole = set(ids), whole
        self.spelt: dict[str | int, set[str]] = {}
        for name in ids:
            for known in {_stem(name), _number(name)} - {None}:
                self.spelt.setdefault(known, set()).add(name)  # type: ignore[arg-type]

    def find(self, name: str, path: Path) -> str:
        """Id of a video; an unknown name stays as it is."""
        if name in self.ids:
            return name
        found = self.spelt.get(_stem(name), set())
        number = None if self.whole else _number(name)
        found = found or (self.spelt.get(number, set()) if number is not None else set())
        if len(found) > 1:
            some = ", ".join(sorted(found)[:4])
            raise DataError(f"{path}: {name!r} may be any of {len(found)} videos, {some}: name it by its id")
        return found.pop() if found else name


def _stem(name: str) -> str:
    """A file's name without folders, up to its first dot."""
    return PurePosixPath(name).name.partition(".")[0]


def _number(name: str) -> int | None:
    """The only number in a name."""
    found = re.findall(r"\d+", PurePosixPath(name).name)
    return int(found[0]) if len(found) == 1 else None


def _with_classes(
    path: Path,
    predictions: Predictions,
    manifest: Labels,
    kinds: Sequence[str],
    datasets: set[str],
    published: ClassesOf,
) -> Predictions:
    """Predictions with their kind, and the names of their classes."""
    own, count = predictions.class_names, len(predictions.class_names)
    candidates = (
        [predictions.kind] if predictions.kind else [kind for kind in kinds if kind in WHOLE or not predictions.whole]
    )
    there = [kind for kind in candidates if datasets and labelled_videos(manifest, kind)]
    if predictions.by_id:
        lists = {kind: _in_order(manifest, kind, datasets, published) for kind in there}
        # Labels may be ids themselves, of which not all need to occur.
        named = {kind: own if set(names) <= set(own) else names for kind, names in lists.items() if names}
        fitting = {kind: names for kind, names in named.items() if len(names) == count}
    else:
        lists = {kind: class_list(manifest, kind, datasets, published) for kind in there}
        plain_own = set(map(class_key, own))
        fits = [kind for kind, names in lists.items() if predictions.whole or plain_own <= set(map(class_key, names))]
        fitting = dict.fromkeys(fits, own)
    if len(fitting) != 1:
        known = ", ".join(f"{kind} {len(names)}" for kind, names in lists.items()) or "no labels"
        fact = f"fit {' and '.join(fitting)}" if fitting else "fit no kind of label"
        raise DataError(
            f"{path}: its {count} classes {fact} of {' and '.join(sorted(datasets)) or 'the manifest'} (known in "
            f"the order of ids: {known}): give --predictions_kind, or put the label_map.json of the data set beside "
            "the files"
        )
    kind = next(iter(fitting))
    return dataclasses.replace(predictions, kind=kind, class_names=fitting[kind], by_id=False)


def _in_order(manifest: Labels, kind: str, datasets: set[str], published: ClassesOf) -> list[str]:
    """The classes of a kind in the order of their ids; empty if nothing tells the order."""
    names = class_list(manifest, kind, datasets, published)
    if all(name.isdecimal() for name in names):
        return sorted(names, key=int)
    return names if all(list(published(kind, each)) == names for each in datasets) else []


def _check_truth(path: Path, predictions: Predictions, manifest: Labels) -> None:
    """Compare the truth in the file with the labels of the manifest, moment by moment."""
    ids, times_s, names = predictions.video_ids, predictions.times_s, predictions.class_names
    known = set(manifest.video_ids())
    rows = [at for at, name in enumerate(ids) if name in known]
    own, moments = [ids[at] for at in rows], times_s[rows]
    labels = manifest.second_labels(predictions.kind, own, moments)
    annotated = were_annotated(manifest, predictions.kind, own, moments, labels)
    other = [
        (at, row)
        for at, (row, here, there) in enumerate(zip(rows, labels, annotated, strict=True))
        if there and set(map(class_key, here)) != {class_key(names[each]) for each in predictions.truth[row]}
    ]
    if other:
        at, row = other[0]
        said = " and ".join(names[each] for each in predictions.truth[row]) or "none"
        raise DataError(
            f"{path}: the truth of {len(other):,} of {len(rows):,} rows is not that of the manifest, the first: "
            f"{ids[row]} at {times_s[row]:g} s is {said} in the file, {' and '.join(labels[at]) or 'none'} in the "
            "manifest: check the order of the classes, the frame rate (--predictions_fps) and the data set"
        )
