"""Surgical skill: a predicted score of a whole video against that of the raters.

Mean absolute error and Spearman's correlation as for JIGSAWS (Gao et al., M2CAI 2014) and in SurgMotion; accuracy and
quadratic kappa of the score as a level of the scale. Few videos are rated: intervals are wide.
"""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result, Statistic, video_mean
from surgvl.metrics import agreement, ranks
from surgvl.tasks.base import NUM_RANDOM, Inputs, Task, point_estimate
from surgvl.tasks.numbers import Numbers

_PROTOCOLS = {
    "mae": "mean absolute error over videos, in points of the scale; 0 is best",
    "spearman": "Spearman's rank correlation over videos, ties at their mean rank; undefined where all predictions, "
    "or all labels, are equal",
    "accuracy": "videos whose nearest level is the true one",
    "quadratic_kappa": "agreement of nearest and true levels beyond chance, by squared distance",
}
_BOUNDS = {"mae": (0.0, np.inf), "spearman": (-1.0, 1.0), "accuracy": (0.0, 1.0), "quadratic_kappa": (-1.0, 1.0)}
# A finer scale has no levels to speak of: those that occur are taken.
_MOST_LEVELS = 100


class Skill(Task[Numbers]):
    """One score for each video.

    Args:
        truth: [V], for each video of the predictions.
        training: scores of training videos, whose mean and median are baselines (of all constants, the median has the
            least mean absolute error); with none, those of the truth, which favours the baselines.
        part: of the score, such as `total`; starts the names of the metrics.
        labels: description of scores and predictions, for the protocol.
        seed: of the bootstrap and of the shuffled baseline.
    """

    name = "skill"
    version = 1
    kind = "skill"

    def __init__(
        self, truth: ArrayLike, training: ArrayLike = (), part: str = "", labels: str = "skill", seed: int = 0
    ) -> None:
        self.truth = np.asarray(truth, np.float64)
        self.training = np.asarray(training, np.float64)
        self.part = part
        self.labels = labels
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Numbers], Numbers]]:
        """Take the score of each video, and of each part that is rated."""
        return [
            (cls(each.truth, each.training, each.kind[len(cls.kind) + 1 :], each.protocol, inputs.seed), each.numbers)
            for each in inputs.numbers(cls.kind)
        ]

    def score(self, predictions: Numbers) -> list[Result]:
        """Score predicted numbers.

        Raises:
            DataError: not as many as true ones, or a true one is not finite.
        """
        if self.truth.shape != predictions.values.shape or not np.isfinite(self.truth).all():
            raise DataError(
                f"{len(predictions.values)} predictions for truth of shape {self.truth.shape}: give each a finite score"
            )
        num_videos = len(self.truth)
        known, mark = (self.training, "") if len(self.training) else (self.truth, " (of test)")
        generator = np.random.default_rng(self.seed)
        blind = {
            f"mean{mark}": [np.full(num_videos, np.mean(known))],
            f"median{mark}": [np.full(num_videos, np.median(known))],
            "shuffled": [generator.permutation(self.truth) for _ in range(NUM_RANDOM)],
        }
        levels = {
            name: [{m: point_estimate(s, num_videos) for m, s in self._statistics(each).items()} for each in said]
            for name, said in blind.items()
        }
        found = []
        for metric, statistic in self._statistics(predictions.values).items():
            baselines = {name: float(np.mean([each[metric] for each in said])) for name, said in levels.items()}
            found.append(
                self.result(
                    "_".join(filter(None, (self.part, metric))),
                    statistic,
                    # A constant has no rank correlation.
                    {name: value for name, value in baselines.items() if np.isfinite(value)},
                    f"{self.labels}; {_PROTOCOLS[metric]}",
                    num_videos=num_videos,
                    num_clips=num_videos,
                    seed=self.seed,
                    bounds=_BOUNDS[metric],
                    video_names=predictions.video_ids,
                )
            )
        return found

    def _statistics(self, values: Float64Array) -> dict[str, Statistic]:
        """Each metric of predicted numbers [V] as a statistic over draws of videos."""
        scale = self._levels()
        true, said = ranks.nearest_level(self.truth, scale), ranks.nearest_level(values, scale)
        tables = agreement.confusion(true, said, np.arange(len(true)), len(scale))
        return {
            "mae": video_mean(ranks.absolute_error(self.truth, values)),
            "spearman": partial(ranks.spearman, self.truth, values),
            "accuracy": video_mean((true == said).astype(np.float64)),
            "quadratic_kappa": lambda weights: agreement.quadratic_kappa(
                np.asarray(np.tensordot(weights, tables, 1), np.float64)
            ),
        }

    def _levels(self) -> Float64Array:
        """Levels of the scale: all whole numbers from the lowest to the highest score, or the scores if not whole."""
        scores = np.unique(np.concatenate([self.truth, self.training]))
        if (scores == np.round(scores)).all() and scores[-1] - scores[0] < _MOST_LEVELS:
            return np.arange(scores[0], scores[-1] + 1)
        return np.asarray(scores)
