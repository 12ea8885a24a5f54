"""What wording and order of options do to answers: the same questions about the same clips, put in other ways.

A model that sees what it is asked about answers alike however it is asked. Wordings and orders are varied one at a
time, so that each has a mean, a spread and a worst case of its own, beside the usual way's score.
Shape letters: N rows, W ways to put a question (the usual one first), V videos, R draws.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.results import Result, Statistic
from surgvl.metrics.answer import normalise
from surgvl.metrics.answer_types.base import type_of
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import Inputs, Task, point_estimate

_EXAMPLE = "example"
_METRICS = {
    "mean": "mean accuracy of the {0}",
    "spread": "accuracy of the best of the {0} minus that of the worst",
    "worst": "accuracy of the worst of the {0}",
    "flip_rate": "share of questions whose answer is not the same in all {0}; by part: of each true answer",
}


class PromptSensitivity(Task[Answers]):
    """How much answers depend on how questions are put.

    Args:
        labels: description of the questions, for the protocol.
        seed: of the bootstrap.
    """

    name = "prompt_sensitivity"
    version = 1

    def __init__(self, labels: str = "questions", seed: int = 0) -> None:
        self.labels = labels
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Answers], Answers]]:
        """Take the answers to questions that were put in other ways, if there are any."""
        return [(cls(labels, inputs.seed), answers) for answers, labels in inputs.answers() if answers.variants]

    def score(self, predictions: Answers) -> list[Result]:
        """Score the wordings, the orders of options, and the example."""
        rows = predictions
        suffix = "" if rows.mode == "closed" else f"_{rows.mode}"
        results = []
        for what in ("wording", "order"):
            ways = [said for name, said in rows.variants.items() if name.startswith(f"{what} ")]
            # Questions that these ways change; a number has no order of options.
            put = [at for at, said in enumerate(zip(*ways, strict=True)) if None not in said]
            if put:
                results += self._of_ways(rows.take(put), [[str(way[at]) for at in put] for way in ways], what, suffix)
        if _EXAMPLE in rows.variants:
            results += self._of_example(rows, [str(said) for said in rows.variants[_EXAMPLE]], suffix)
        made: dict[str, Any] = {"encoder": rows.encoder, "num_trainable": rows.num_trainable}
        return [dataclasses.replace(result, **made) for result in results]

    def _of_ways(self, rows: Answers, others: Sequence[Sequence[str]], what: str, suffix: str) -> list[Result]:
        ways, videos = [rows.predictions, *others], _videos(rows)
        right = np.array([_right(rows, said) for said in ways])
        coded = np.array([[normalise(each) for each in said] for said in ways])
        flips = (coded != coded[:1]).any(0)
        named = f"{len(ways)} {what}s, the usual one among them"
        statistics = {
            name: _over_ways(right, videos, reduce)
            for name, reduce in (
                ("mean", lambda values: values.mean(-1)),
                ("spread", lambda values: values.max(-1) - values.min(-1)),
                ("worst", lambda values: values.min(-1)),
            )
        }
        statistics["flip_rate"] = _over_ways(flips[None], videos, lambda values: values[..., 0])
        usual = point_estimate(_over_ways(right[:1], videos, lambda values: values[..., 0]), int(videos.max()) + 1)
        by_type = {
            "mean": _by_part(right.mean(0), rows.types),
            "spread": _extremes(right, rows.types, lambda values: values.max() - values.min()),
            "worst": _extremes(right, rows.types, np.min),
            "flip_rate": _by_part(flips, rows.answers),
        }
        beside = {
            "mean": {"usual": _by_part(right[0], rows.types)},
            "flip_rate": {"accuracy as usual": _by_part(right[0], rows.answers)},
        }
        clips = {"mean": Counter(rows.types), "flip_rate": Counter(rows.answers)}
        return [
            dataclasses.replace(
                self._result(
                    f"{what}_{name}{suffix}",
                    statistic,
                    rows,
                    {"usual": usual} if name in ("mean", "worst") else {},
                    _METRICS[name].format(named),
                    by_type[name],
                ),
                per_class_baselines=beside.get(name, {}),
                per_class_clips=dict(clips.get(name, {})),
            )
            for name, statistic in statistics.items()
        ]

    def _of_example(self, rows: Answers, said: Sequence[str], suffix: str) -> list[Result]:
        """Accuracy with an answered question shown before, and without."""
        videos, right = _videos(rows), {True: _right(rows, said), False: _right(rows, rows.predictions)}
        found = {shown: _over_ways(each[None], videos, lambda values: values[..., 0]) for shown, each in right.items()}
        without = {"without": point_estimate(found[False], int(videos.max()) + 1)}
        told = "accuracy where a made-up question and its answer are shown before; without: the usual way"
        by_type = _by_part(right[True], rows.types)
        return [self._result(f"accuracy_with_example{suffix}", found[True], rows, without, told, by_type)]

    def _result(
        self,
        metric: str,
        statistic: Statistic,
        rows: Answers,
        baselines: Mapping[str, float],
        said: str,
        parts: dict[str, float],
    ) -> Result:
        names = sorted(set(rows.video_ids))
        many: dict[str, Any] = {"num_videos": len(names), "num_clips": len(rows.answers), "seed": self.seed}
        told = f"{self.labels}; {said}"
        return self.result(metric, statistic, baselines, told, per_class=parts, video_names=names, **many)


def _videos(rows: Answers) -> Int64Array:
    """The number of each row's video, int64 [N]."""
    return np.unique(np.asarray(rows.video_ids, np.str_), return_inverse=True)[1]


def _right(rows: Answers, said: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each answer is right, bool [N]."""
    triples = zip(rows.types, rows.answers, said, strict=True)
    return np.array([type_of(kind).right(truth, each) for kind, truth, each in triples], bool)


def _over_ways(
    right: NDArray[np.bool_], videos: Int64Array, reduce: Callable[[Float64Array], Float64Array]
) -> Statistic:
    """A statistic over draws of videos: `reduce` of the share [R, W] of rows in each way's `right` [W, N]."""
    counts = np.bincount(videos)
    sums = np.stack([np.bincount(videos, weights=each) for each in right])

    def statistic(weights: Float64Array) -> Float64Array:
        return np.asarray(reduce((weights @ sums.T) / (weights @ counts)[:, None]))

    return statistic


def _by_part(values: NDArray[np.generic], parts: Sequence[str]) -> dict[str, float]:
    """The mean of [N] values in each part."""
    return {
        name: float(np.mean([value for value, part in zip(values, parts, strict=True) if part == name]))
        for name in sorted(set(parts))
    }


def _extremes(
    right: NDArray[np.bool_], parts: Sequence[str], reduce: Callable[[NDArray[np.float64]], float]
) -> dict[str, float]:
    """`reduce` of the accuracies [W] in each part."""
    each = [_by_part(way, parts) for way in right]
    return {name: float(reduce(np.array([way[name] for way in each]))) for name in each[0]}
