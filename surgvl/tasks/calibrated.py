"""Calibration of scores that are probabilities: results beside accuracy, for one label per row or several.

Beside each stands the same model with all its confidence: what calibration is worth. Guo et al., arXiv 1706.04599.

Shape letters: N rows, C classes, V videos.
"""

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.results import Statistic
from surgvl.metrics import calibration
from surgvl.metrics.average_precision import nan_mean

PROTOCOLS = {
    "ece": f"expected calibration error in {calibration.NUM_BINS} bins of equal width, rows pooled; 0 is best",
    "ece_mass": f"expected calibration error in {calibration.NUM_BINS} bins of equal mass, rows pooled; 0 is best",
    "brier": "squared error of the probabilities, rows pooled; 0 is best",
}
# Scores of the same decisions, each with a probability of 1.
CERTAIN = "certain"


def are_probabilities(scores: NDArray[np.floating], exclusive: bool) -> bool:
    """Whether scores [N, C] are probabilities, and not decisions: rows that sum to 1 if classes are exclusive."""
    inside = bool(scores.size) and float(scores.min()) >= 0 and float(scores.max()) <= 1
    if not inside or bool(np.isin(scores, (0, 1)).all()):
        return False
    return not exclusive or calibration.are_distributions(scores)


def exclusive_statistics(
    probabilities: NDArray[np.floating], truth: Int64Array, videos: Int64Array
) -> tuple[dict[str, Statistic], dict[str, float]]:
    """Statistics of rows with one class each, and their values if every decision were certain.

    Args:
        probabilities: [N, C], one distribution per row.
        truth: int [N].
        videos: int [N], 0 ... V-1.
    """
    confidence, said = calibration.top(np.asarray(probabilities, np.float64))
    right = said == truth
    wrong = float(1 - right.mean())
    error = calibration.brier(probabilities, truth)
    return _statistics(confidence[:, None], right[:, None], error, videos), {
        "ece": wrong,
        "ece_mass": wrong,
        "brier": 2 * wrong,
    }


def multi_label_statistics(
    probabilities: NDArray[np.floating], truth: NDArray[np.bool_], videos: Int64Array
) -> tuple[dict[str, Statistic], dict[str, float]]:
    """Statistics of rows with any number of classes, as means over classes: probabilities and truth [N, C]."""
    values = np.asarray(probabilities, np.float64)
    wrong = float(((values >= 0.5) != truth).mean())
    error = calibration.binary_brier(values, truth).mean(axis=1)
    return _statistics(values, truth, error, videos), dict.fromkeys(PROTOCOLS, wrong)


def stated_statistics(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], videos: Int64Array
) -> tuple[dict[str, Statistic], dict[str, float]]:
    """Statistics of decisions that come with the probability that they are right, and with one probability only.

    The Brier score is that of a yes-or-no label, whether the decision is right: in 0 ... 1.

    Args:
        confidence: [N], 0 ... 1.
        right: [N].
        videos: int [N], 0 ... V-1.
    """
    values = np.asarray(confidence, np.float64)
    found = _statistics(values[:, None], right[:, None], calibration.binary_brier(values, right), videos)
    return found, dict.fromkeys(PROTOCOLS, float(1 - right.mean()))


def _statistics(
    confidence: Float64Array, right: NDArray[np.bool_], error: Float64Array, videos: Int64Array
) -> dict[str, Statistic]:
    """Statistics from confidences [N, C] and whether they came true, and the squared error of each row [N]."""
    kinds: tuple[tuple[str, calibration.Bins], ...] = (("ece", "width"), ("ece_mass", "mass"))
    found: dict[str, Statistic] = {}
    for metric, bins in kinds:
        tables = [calibration.reliability(*pair, videos, bins=bins) for pair in zip(confidence.T, right.T, strict=True)]

        def statistic(weights: Float64Array, tables: list[calibration.Reliability] = tables) -> Float64Array:
            return nan_mean(np.stack([calibration.calibration_error(each.pooled(weights)) for each in tables], axis=-1))

        found[metric] = statistic
    rows, sums = np.bincount(videos).astype(np.float64), np.bincount(videos, error)

    def brier(weights: Float64Array) -> Float64Array:
        return np.asarray((weights @ sums) / (weights @ rows))

    return found | {"brier": brier}
