"""Calibration: whether of the rows predicted with a probability of 0.8, 80 % are right.

Expected calibration error (Naeini et al., AAAI 2015; Guo et al., arXiv 1706.04599) compares mean confidence and
accuracy in bins. Its value depends on the bins, so both kinds in use are here: `width` cuts [0, 1] into equal parts (of
which most are nearly empty for a confident model), `mass` gives each bin an equal number of rows. The Brier score
(Brier 1950) needs no bins.

Bins hold sums, not means, so that rows, videos and draws of videos are added up before they are divided.

Shape letters: N rows, C classes, V videos, B bins; "..." is any leading shape, such as [V] or [R].
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError

Bins = Literal["width", "mass"]
NUM_BINS = 15
# Float32 sums of a softmax over thousands of classes are off by less.
_SLACK = 1e-4


@dataclass(frozen=True)
class Reliability:
    """Sums over the rows of each bin of confidence; float64 [..., B] each.

    Attributes:
        rows: number of rows.
        confidence: sum of the confidences.
        right: number of right rows.
        edges: float64 [B + 1], where the bins begin and end.
    """

    rows: Float64Array
    confidence: Float64Array
    right: Float64Array
    edges: Float64Array

    def pooled(self, weights: ArrayLike | None = None) -> "Reliability":
        """Sum over videos weighted by `weights` [R, V] (None: one each): [V, B] -> [R, B]."""
        counted = np.ones((1, len(self.rows))) if weights is None else np.asarray(weights, np.float64)
        return Reliability(counted @ self.rows, counted @ self.confidence, counted @ self.right, self.edges)


def reliability(
    confidence: ArrayLike, right: ArrayLike, videos: ArrayLike, num_bins: int = NUM_BINS, bins: Bins = "width"
) -> Reliability:
    """The reliability table of each video.

    Args:
        confidence: [N], predicted probabilities.
        right: bool [N], whether what was predicted is true.
        videos: int [N], 0 ... V-1.
        num_bins: B. A confidence on an edge belongs to the bin above it, 1 to the last.
        bins: of equal `width`, or of equal `mass` over all rows: as equal as ties allow, because equal confidences
            share a bin. There are fewer bins than B then if confidences repeat.

    Returns:
        Reliability [V, B].

    Raises:
        DataError: no rows, lengths that differ, a confidence outside 0 ... 1, or an unknown kind of bins.
    """
    values, hits, codes = np.asarray(confidence, np.float64), np.asarray(right), np.asarray(videos)
    if values.ndim != 1 or hits.shape != values.shape or codes.shape != values.shape or not len(values):
        raise DataError(
            f"confidence {values.shape}, right {hits.shape} and videos {codes.shape}: give three arrays [N], N > 0"
        )
    if num_bins < 1:
        raise DataError(f"the number of bins must be >= 1, got {num_bins}")
    values = _probabilities(values)
    if bins == "width":
        edges = np.linspace(0, 1, num_bins + 1)
    elif bins == "mass":
        inner = np.sort(values)[np.arange(1, num_bins) * len(values) // num_bins]
        # The last edge may be 1 twice: a bin of its own for a confidence of 1.
        edges = np.concatenate([[0.0], np.unique(inner[inner > 0]), [1.0]])
    else:
        raise DataError(f"bins must be one of {', '.join(get_args(Bins))}, got {bins!r}")
    num_found = len(edges) - 1
    shape = (int(codes.max()) + 1, num_found)
    cells = codes * num_found + np.clip(np.searchsorted(edges, values, side="right") - 1, 0, num_found - 1)

    def table(weights: Float64Array) -> Float64Array:
        return np.bincount(cells, weights, shape[0] * shape[1]).reshape(shape).astype(np.float64)

    return Reliability(table(np.ones(len(values))), table(values), table(hits.astype(np.float64)), edges)


def calibration_error(table: Reliability) -> Float64Array:
    """Expected calibration error: [..., B] -> [...], in 0 ... 1; NaN without rows."""
    off = np.abs(table.confidence - table.right).sum(axis=-1)
    rows = table.rows.sum(axis=-1)
    found: Float64Array = np.divide(off, rows, out=np.full(np.shape(rows), np.nan), where=rows > 0)
    return found


def brier(probabilities: ArrayLike, truth: ArrayLike) -> Float64Array:
    """Brier score of each row: float64 [N], in 0 ... 2; its mean is the Brier score of the rows.

    Args:
        probabilities: [N, C], one distribution per row.
        truth: int [N], class ids 0 ... C-1.

    Returns:
        The squared distance to the one-hot truth, summed over classes as Brier did. scikit-learn's binary score is half
        of it.

    Raises:
        DataError: shapes differ, an id is outside 0 ... C-1, or rows are not distributions.
    """
    values, ids = distributions(probabilities), np.asarray(truth)
    if ids.shape != values.shape[:1] or ids.dtype.kind not in "iu":
        raise DataError(f"truth {ids.shape} ({ids.dtype}) for {len(values)} rows: give one class id per row")
    if len(ids) and not (ids.min() >= 0 and ids.max() < values.shape[1]):
        raise DataError(f"class ids must be from 0 to {values.shape[1] - 1}, got {ids.min()} to {ids.max()}")
    found: Float64Array = (values**2).sum(axis=1) - 2 * values[np.arange(len(ids)), ids] + 1
    return found


def binary_brier(probabilities: ArrayLike, truth: ArrayLike) -> Float64Array:
    """Squared error of each probability of a yes-or-no label: float64, in 0 ... 1, of the shape of both (0 or 1)."""
    values, labels = _probabilities(np.asarray(probabilities, np.float64)), np.asarray(truth, np.float64)
    if values.shape != labels.shape:
        raise DataError(f"probabilities {values.shape} and truth {labels.shape}: give two arrays of equal shape")
    return (values - labels) ** 2


def distributions(probabilities: ArrayLike) -> Float64Array:
    """Check that rows [N, C] are probability distributions.

    Raises:
        DataError: they are not [N, C], a value is outside 0 ... 1, or a row does not sum to 1.
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2:
        raise DataError(f"probabilities must be [N, C], got {values.shape}")
    values = _probabilities(values)
    off = np.abs(values.sum(axis=1) - 1)
    if len(off) and off.max() > _SLACK:
        row = int(off.argmax())
        raise DataError(
            f"row {row} of the probabilities sums to {values[row].sum():.4g}, not 1: give the softmax of the scores"
        )
    return values


def are_distributions(scores: ArrayLike) -> bool:
    """Whether rows [N, C] of scores are probability distributions, so that calibration means something."""
    try:
        return bool(len(distributions(scores)))
    except DataError:
        return False


def top(probabilities: Float64Array) -> tuple[Float64Array, Int64Array]:
    """Highest probability and its class of each row: float64 [N], int64 [N]."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1)


def _probabilities(values: Float64Array) -> Float64Array:
    outside = ~((values >= -_SLACK) & (values <= 1 + _SLACK))
    if outside.any():
        at = np.argwhere(outside)[0]
        raise DataError(f"probabilities must be in 0 ... 1, got {values[tuple(at)]} in row {at[0]}")
    return np.clip(values, 0, 1)
