"""Numbers that videos are labelled with, such as a skill score, and a model's numbers for the same videos.

A label is one segment over the whole video, its name the number as text. Several predictions of one video are averaged.

Shape letters: V videos, N predicted moments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.predictions import Predictions
from surgvl.tasks.truth import WHOLE, Labels

NUMBERED = ("skill",)
"""Kinds of label that are numbers; `skill_total` and others that go on with an underscore are parts of them, but for
classes such as `skill_class`."""


@dataclass(frozen=True)
class Numbers:
    """A model's number for each video.

    Attributes:
        video_ids: [V], all different.
        values: float64 [V].
    """

    video_ids: Sequence[str]
    values: Float64Array

    def __post_init__(self) -> None:
        if not len(self.video_ids) or self.values.shape != (len(self.video_ids),):
            raise DataError(f"{len(self.video_ids)} videos and numbers {list(self.values.shape)}: give one for each")
        if len(set(self.video_ids)) != len(self.video_ids) or not np.isfinite(self.values).all():
            raise DataError("numbers must be finite, one for each video: check the model behind them")


@dataclass(frozen=True)
class LabelledNumbers:
    """Numbers and labels of the same videos.

    Attributes:
        kind: kind of label, such as `skill_total`.
        numbers: of V videos.
        truth: float64 [V].
        training: labels of the training videos; empty if there are none.
        protocol: description of labels and numbers.
    """

    kind: str
    numbers: Numbers
    truth: Float64Array
    training: Float64Array
    protocol: str


def part_of_kind(kind: str, kinds: Sequence[str]) -> bool:
    """Whether labels of a kind are numbers of one of the kinds, or of a part of it."""
    numbered = (each for each in NUMBERED if each in kinds)
    return kind not in WHOLE and any(kind == each or kind.startswith(f"{each}_") for each in numbered)


def number_labels(labels: Labels, kind: str) -> dict[str, float]:
    """The number of each labelled video.

    Raises:
        DataError: a label is not a number, or a video has two.
    """
    table = labels.segment_table.filter(pc.equal(labels.segment_table["task"], kind))
    found: dict[str, float] = {}
    for name, label in zip(table["video_id"].to_pylist(), table["label"].to_pylist(), strict=True):
        value = _number(label)
        if value is None:
            raise DataError(f"{kind} label {label!r} of {name} is not a number: correct the segments, or leave it out")
        if found.setdefault(name, value) != value:
            raise DataError(f"{name} has two {kind} labels, {found[name]:g} and {value:g}: correct the segments")
    return found


def join_numbers(
    kind: str, files: Sequence[tuple[Path, Predictions]], test: Labels, train: Labels | None, described: str
) -> LabelledNumbers:
    """The numbers of files and the labels of the videos that have both.

    Args:
        kind: of label.
        files: their values, or classes that are numbers, of which the likeliest is taken.
        test: videos to score.
        train: the training videos.
        described: description of the split, for the protocol.

    Raises:
        DataError: a class is not a number, or no video has both.
    """
    truth = number_labels(test, kind)
    given: dict[str, list[float]] = {}
    for path, each in files:
        for name, value in zip(each.video_ids, _values(path, each, kind).tolist(), strict=True):
            if name in truth:
                given.setdefault(name, []).append(value)
    if not given:
        raise DataError(f"{files[0][0]} predicts no video that has a {kind} label: choose another --split")
    names = sorted(given)
    training = number_labels(train, kind) if train is not None else {}
    model = " and ".join(dict.fromkeys(str(each.facts.get("model") or path.name) for path, each in files))
    missing = len(truth) - len(names)
    gaps = f", {missing} of {len(truth)} labelled videos without a prediction" if missing else ""
    return LabelledNumbers(
        kind,
        Numbers(names, np.array([np.mean(given[name]) for name in names])),
        np.array([truth[name] for name in names]),
        np.array([training[name] for name in sorted(training)]),
        f"{described}, predictions of {model}{gaps}",
    )


def _values(path: Path, predictions: Predictions, kind: str) -> Float64Array:
    """A number for each predicted moment: float64 [N]."""
    if predictions.values is not None:
        return predictions.values
    assert predictions.scores is not None
    levels = [_number(name) for name in predictions.class_names]
    for name, level in zip(predictions.class_names, levels, strict=True):
        if level is None:
            raise DataError(f"{path}: class {name!r} is not a number, but {kind} labels are: give a column `value`")
    return np.asarray(np.array(levels, np.float64)[predictions.scores.argmax(axis=1)], np.float64)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
