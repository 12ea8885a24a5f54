"""Calibration of answers by the confidence that the answerer states for each, beside controls and blind baselines.

An answerer states the probability of its answer and not of every option, so these are scores of a yes-or-no forecast:
that the answer is right. Answers without a confidence are left out, and counted.
Shape letters: N rows, V videos.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.results import Result
from surgvl.metrics.answer import encode
from surgvl.metrics.calibration import Reliability, reliability
from surgvl.tasks import calibrated
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import point_estimate

PROTOCOLS = calibrated.PROTOCOLS | {
    "brier": "squared difference between confidence and right (1) or wrong (0), rows pooled; 0 is best"
}


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Answers with the probability that they are right.

    Attributes:
        right: bool [N].
        confidence: float64 [N], 0 ... 1; NaN where none is stated.
    """

    right: NDArray[np.bool_]
    confidence: Float64Array

    @classmethod
    def of(cls, right: NDArray[np.bool_], confidences: Sequence[float]) -> "Forecast":
        """Of confidences [N], or of none at all."""
        stated = np.asarray(confidences, np.float64)
        return cls(right, stated if len(stated) else np.full(len(right), np.nan))

    @classmethod
    def of_choices(cls, truth: Sequence[str], said: Sequence[str], confidences: Sequence[float]) -> "Forecast":
        """Of answers that are right where they equal the truth, texts [N]."""
        coded = encode(truth, said)
        return cls.of(coded.truth == coded.predicted, confidences)

    @property
    def stated(self) -> NDArray[np.bool_]:
        """Where there is a confidence, bool [N]."""
        return np.isfinite(self.confidence)


def calibration_results(
    own: Forecast,
    others: Mapping[str, Forecast],
    video_ids: Sequence[str],
    result: Callable[..., Result],
    seed: int,
    base: str,
    name: Callable[[str], str] = str,
) -> list[Result]:
    """Scores of calibration; none if no answer has a confidence.

    Args:
        own: the model's answers.
        others: those of controls and baselines, by name.
        video_ids: [N].
        result: makes a result, `Task.result`.
        seed: of the bootstrap.
        base: beginning of the protocol.
        name: of a metric -> its name in the table.
    """
    if not own.stated.any():
        return []
    statistics, beside = {}, {}
    names, codes = np.unique(np.asarray(video_ids, np.str_), return_inverse=True)
    for who, each in {"": own, **others}.items():
        if each.stated.any():
            kept, videos = np.unique(codes[each.stated], return_inverse=True)
            found, certain = calibrated.stated_statistics(each.confidence[each.stated], each.right[each.stated], videos)
            beside[who] = {metric: point_estimate(statistic, len(kept)) for metric, statistic in found.items()}
            if not who:
                statistics, beside[calibrated.CERTAIN] = found, certain
                own_names = names[kept].tolist()
    number = int(own.stated.sum())
    counted = f"of the {number:,} of {len(own.stated):,} answers that have a confidence"
    return [
        dataclasses.replace(
            result(
                name(metric),
                statistic,
                {who: values[metric] for who, values in beside.items() if who},
                f"{base}; {PROTOCOLS[metric]}; {counted}",
                num_videos=len(own_names),
                num_clips=number,
                seed=seed,
                video_names=own_names,
            ),
            detail=True,
        )
        for metric, statistic in statistics.items()
    ]


def reliability_of(answers: Answers) -> Reliability | None:
    """The reliability table of closed answers, all videos together; None if none of them has a confidence."""
    forecast = Forecast.of_choices(answers.answers, answers.predictions, answers.confidences)
    there = forecast.stated
    if answers.mode not in ("closed", "head") or not there.any():
        return None
    return reliability(forecast.confidence[there], forecast.right[there], np.zeros(int(there.sum()), np.int64)).pooled()


def not_measured_note(answers: Sequence[Answers]) -> str:
    """Answers whose calibration is not measured, as list items."""
    silent = [each.mode for each in answers if each.mode != "open" and not np.isfinite(each.confidences).any()]
    return "".join(
        f"- calibration of {mode} answers: not measured (this answerer states no confidence)\n" for mode in silent
    )
