"""Agreement of the raters behind labels, beside the scores of a model: where people disagree, no score means much.

Fleiss, Psychological Bulletin 1971; the critical view of safety with three raters: Murali et al., arXiv 2312.12429.

Shape letters: N rows, J raters, K classes, V videos, R draws.
"""

from collections.abc import Sequence

import numpy as np

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.results import Statistic
from surgvl.metrics import agreement
from surgvl.metrics.average_precision import nan_mean

PROTOCOLS = {
    "rater_agreement": "share of pairs of raters that say the same, mean over classes; of labels, not of a model",
    "rater_kappa": "Fleiss' kappa of the raters, mean over classes of which they say both; of labels, not of a model",
}
BOUNDS = {"rater_agreement": (0.0, 1.0), "rater_kappa": (-1.0, 1.0)}


def rater_statistics(
    raters: Sequence[Sequence[list[str] | None]], class_names: Sequence[str], videos: Int64Array
) -> tuple[dict[str, Statistic], dict[str, Float64Array], dict[str, dict[str, float]]]:
    """Statistics of raters over draws of videos, their values by class [K], and those of raters who guess.

    Args:
        raters: for each rater, the class names of each row, J lists [N]; None where they did not look.
        class_names: [K].
        videos: int [N], 0 ... V-1.
    """
    rated = np.array([None not in row for row in zip(*raters, strict=True)], bool)
    sums = np.zeros((int(videos.max()) + 1, len(class_names), 3))
    for k, name in enumerate(class_names):
        says = np.array([[row is not None and name in row for row in own] for own in raters]).T
        if rated.any():
            own = agreement.rater_sums(says[rated], videos[rated])
            sums[: len(own), k] = own
    every = sums.sum(axis=0)

    def pooled(weights: Float64Array) -> Float64Array:
        return np.asarray(np.tensordot(weights, sums, 1))

    statistics: dict[str, Statistic] = {
        "rater_agreement": lambda weights: nan_mean(agreement.pairwise_agreement(pooled(weights))),
        "rater_kappa": lambda weights: nan_mean(agreement.fleiss_kappa(pooled(weights))),
    }
    per_class = {"rater_agreement": agreement.pairwise_agreement(every), "rater_kappa": agreement.fleiss_kappa(every)}
    chance = float(nan_mean(agreement.chance_agreement(every)))
    return statistics, per_class, {"rater_agreement": {"chance": chance}, "rater_kappa": {"chance": 0.0}}
