"""Predicted classes matched by name with those of labels: equal but for case and punctuation, one for each moment.

Shape letters: N rows, C classes.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from surgvl.core.arrays import Float32Array
from surgvl.core.box_predictions import BoxPredictions
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.core.predictions import Predictions
from surgvl.core.results import UNRECORDED
from surgvl.tasks.calibrated import are_probabilities
from surgvl.tasks.truth import EXCLUSIVE


def class_key(name: str) -> str:
    """A class name without case and punctuation."""
    return re.sub(r"[\W_]+", "", name).casefold()


def described(files: Sequence[tuple[Path, Predictions | BoxPredictions]]) -> str:
    """The models behind files and their protocol, in words."""
    model = " and ".join(dict.fromkeys(str(each.facts.get("model") or path.name) for path, each in files))
    anchor = " and ".join(dict.fromkeys(str(each.facts.get("protocol") or UNRECORDED) for _, each in files))
    return f"predictions of {model}, {anchor}"


def with_unlabelled(
    files: Sequence[tuple[Path, Predictions]], names: Sequence[str], kind: str, published: Sequence[str]
) -> tuple[Sequence[str], str]:
    """The classes of the labels, then those that models have and no label is of; and these in words.

    A model that was trained on more classes has them, and is wrong where it says so. Only data without a published list
    of classes can have more; and where a class of the labels is missing in their place, a file of unknown origin more
    likely spells it otherwise, which `by_class` says.

    Args:
        files: predictions of one kind.
        names: classes of the labels.
        kind: of label.
        published: classes of the data set; empty where it has no list.
    """
    known = {class_key(name) for name in names}
    found: dict[str, str] = {}
    for _, each in files if list(names) != list(published) else ():
        own = {class_key(name): name for name in each.class_names}
        if not each.hard and each.scores is not None and (known <= own.keys() or "made_by" in each.facts):
            found |= {key: name for key, name in own.items() if key not in known}
    more = sorted(found.values())
    return [*names, *more], f"no label is of {kind} {', '.join(more)}, which the model can predict" if more else ""


def by_class(
    path: Path, predictions: Predictions, names: Sequence[str], kind: str, datasets: Sequence[str]
) -> Float32Array:
    """The scores with a column for each class of the truth; a class that the file lacks is the least likely.

    Of decisions and probabilities, that is 0, so that probabilities stay what they are.

    Raises:
        DataError: the file predicts numbers, a class is unknown, or two of its classes are one.
    """
    if predictions.scores is None:
        raise DataError(f"{path} holds numbers, but {kind} labels are classes: predict a class or scores")
    index = {class_key(name): at for at, name in enumerate(names)}
    index |= {name: at for at, name in enumerate(names)}
    known = predictions.hard or are_probabilities(predictions.scores, exclusive=kind in EXCLUSIVE)
    low = 0.0 if known else float(predictions.scores.min()) - 1
    scores = np.full((len(predictions.video_ids), len(names)), low, np.float32)
    taken: dict[int, str] = {}
    for column, name in enumerate(predictions.class_names):
        at = index.get(name, index.get(class_key(name)))
        if at is None:
            where = f"column {name!r}"
            if predictions.hard:
                row = int(predictions.scores[:, column].argmax())
                where = f"label {name!r} of {predictions.video_ids[row]} at {predictions.times_s[row]:g} s"
            hint = did_you_mean(name, names, "rename it")
            raise DataError(
                f"{path}: {where} is no {kind} of {' or '.join(datasets)}; allowed are {', '.join(names)}: {hint}"
            )
        if at in taken and not predictions.hard:
            raise DataError(f"{path}: {taken[at]!r} and {name!r} both mean {names[at]!r}: merge the columns")
        taken[at] = name
        scores[:, at] = np.maximum(scores[:, at], predictions.scores[:, column])
    return scores


def decided(path: Path, predictions: Predictions, rows: Sequence[int]) -> list[int]:
    """The rows with one label; those without any are not predictions.

    Raises:
        DataError: a row has several.
    """
    assert predictions.scores is not None
    counts = (predictions.scores[list(rows)] > 0).sum(axis=1)
    if (counts > 1).any():
        row = rows[int((counts > 1).argmax())]
        names = [name for name, own in zip(predictions.class_names, predictions.scores[row], strict=True) if own]
        where = f"{predictions.video_ids[row]} at {predictions.times_s[row]:g} s"
        raise DataError(f"{path}: {where} has {plural(len(names), 'label')}, {' and '.join(names)}: give one")
    return [row for row, count in zip(rows, counts.tolist(), strict=True) if count]
