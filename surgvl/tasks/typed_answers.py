"""Answers of a type: class sets, numbers, percentages, times and boxes, each right by the rule of its type.

The practice of the FOCUS challenge (MICCAI 2026): unread, late and missing answers are wrong.
Shape letters: N rows, V videos.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.results import Result, Statistic
from surgvl.metrics.answer import LabelledQuestion, blind_answers, majority_answer, of_types
from surgvl.metrics.answer_types.base import AnswerType, type_of
from surgvl.tasks.answer_calibration import Forecast, calibration_results
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import point_estimate
from surgvl.tasks.vqa import Vqa

Value = TypeVar("Value", str, float)


class TypedAnswers(Vqa):
    """Answers that are neither one of a list nor free text; see `Vqa` for the arguments."""

    name = "typed_answers"
    MODES: ClassVar[Collection[str]] = ("typed",)

    def score(self, predictions: Answers) -> list[Result]:
        """Score the answers of each type."""
        kinds = [type_of(each) for each in predictions.types]
        names = sorted({kind.name for kind in kinds})
        return [result for name in names for result in self._of_type(predictions, name)]

    def _of_type(self, rows: Answers, name: str) -> list[Result]:
        at = [number for number, each in enumerate(rows.types) if type_of(each).name == name]

        def taken(column: Sequence[Value]) -> list[Value]:
            return [column[number] for number in at]

        truth, types, questions = taken(rows.answers), taken(rows.types), taken(rows.questions)
        names, videos = np.unique(np.asarray(taken(rows.video_ids), np.str_), return_inverse=True)
        kind, num_videos = type_of(name), len(names)
        training = of_types(self.training, types)
        mark = "" if training else " (of test)"
        training = training or Counter(map(LabelledQuestion, questions, truth, types))
        blind, majority = blind_answers(training, questions, types), majority_answer(training)
        others = {
            f"blind{mark}": [each.answer for each in blind],
            **{control: taken(said) for control, said in rows.controls.items()},
            f"majority{mark}": [majority.answer] * len(at),
        }
        sure: dict[str, Sequence[float]] = {
            f"blind{mark}": [each.share for each in blind],
            **{control: taken(each) for control, each in rows.control_confidences.items()},
            f"majority{mark}": [majority.share] * len(at),
        }
        said = taken(rows.predictions)
        measures = ["accuracy", *kind.measures]
        results = []
        for measure in measures:
            values = _values(kind, measure, truth, said)
            found = self.result(
                f"{name}_{measure}",
                _mean(values, videos),
                {
                    other: point_estimate(_mean(_values(kind, measure, truth, each), videos), num_videos)
                    for other, each in others.items()
                },
                f"{self.labels}; {_described(kind, measure, values)}",
                num_videos=num_videos,
                num_clips=len(at),
                seed=self.seed,
                video_names=names.tolist(),
                per_class=_by_part(values, types),
                bounds=(0.0, math.inf if measure == "error" else 1.0),
            )
            results.append(found)

        def forecast(answers: Sequence[str], confidences: Sequence[float]) -> Forecast:
            return Forecast.of(_values(kind, "accuracy", truth, answers) > 0, confidences)

        results += calibration_results(
            forecast(said, taken(rows.confidences) if rows.confidences else ()),
            {other: forecast(each, sure.get(other, ())) for other, each in others.items()},
            taken(rows.video_ids),
            self.result,
            self.seed,
            self.labels,
            lambda metric: f"{name}_{metric}",
        )
        made: dict[str, Any] = {"encoder": rows.encoder, "num_trainable": rows.num_trainable}
        return [dataclasses.replace(result, **made) for result in results]


def _values(kind: AnswerType, measure: str, truth: Sequence[str], said: Sequence[str]) -> Float64Array:
    """One score for each answer, float64 [N]."""
    pairs = zip(truth, said, strict=True)
    if measure == "accuracy":
        return np.array([kind.right(*pair) for pair in pairs], np.float64)
    return np.array([kind.measure(*pair)[measure] for pair in pairs], np.float64)


def _mean(values: Float64Array, videos: Any) -> Statistic:
    """The mean over answers, those without a value left out."""
    known = np.isfinite(values)
    sums = np.bincount(videos, weights=np.where(known, values, 0))
    counts = np.bincount(videos, weights=known)

    def mean(weights: Float64Array) -> Float64Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ sums) / (weights @ counts))

    return mean


def _described(kind: AnswerType, measure: str, values: Float64Array) -> str:
    if measure == "accuracy":
        return f"share of answers that are right: {kind.rule}; unread, late and missing ones are wrong"
    if measure == "error":
        read = int(np.isfinite(values).sum())
        return f"{kind.measures[measure]} of the {read:,} of {len(values):,} answers that were read"
    return f"{kind.measures[measure]}; 0 where none was read"


def _by_part(values: Float64Array, types: Sequence[str]) -> dict[str, float]:
    """The mean of each group of questions."""
    parts: dict[str, list[float]] = {}
    for value, group in zip(values.tolist(), types, strict=True):
        parts.setdefault(group, []).append(value)
    return {name: float(np.nanmean(each)) if not np.isnan(each).all() else math.nan for name, each in parts.items()}
