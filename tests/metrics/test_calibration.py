"""Calibration against torchmetrics, scikit-learn and plain loops; ties, edges, videos and nothing at all."""

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.metrics import calibration


def made(seed: int, num_rows: int = 400, decimals: int = 6) -> list[NDArray[Any]]:
    """Confidences (rounded: with ties and, if coarse, values on edges), whether right, videos of 3."""
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.random(num_rows) ** 0.5, decimals)
    return [confidence, rng.random(num_rows) < 0.8 * confidence, rng.integers(0, 3, num_rows)]


def slow_error(confidence: Any, right: Any, edges: Any) -> float:
    """Row by row: which bin, then the gap of each bin by its share of rows."""
    bins: dict[int, list[int]] = {}
    for row, value in enumerate(confidence):
        at = max(at for at in range(len(edges) - 1) if value >= edges[at])
        bins.setdefault(at, []).append(row)
    gaps = [
        len(rows) * abs(sum(confidence[r] for r in rows) / len(rows) - sum(right[r] for r in rows) / len(rows))
        for rows in bins.values()
    ]
    return float(sum(gaps) / len(confidence))


@pytest.mark.parametrize("bins", ["width", "mass"])
@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_calibration_error_equals_a_slow_one(num_bins: int, decimals: int, bins: calibration.Bins) -> None:
    confidence, right, videos = made(num_bins, decimals=decimals)
    table = calibration.reliability(confidence, right, videos, num_bins, bins)
    assert table.rows.shape[0] == 3
    assert table.rows.sum() == len(confidence)
    expected = slow_error(confidence, right, table.edges)
    assert calibration.calibration_error(table.pooled())[0] == pytest.approx(expected, abs=1e-12)
    for video in range(3):
        rows = videos == video
        expected = slow_error(confidence[rows], right[rows], table.edges)
        assert calibration.calibration_error(table)[video] == pytest.approx(expected, abs=1e-12)
    again = np.concatenate([np.flatnonzero(videos == 1)] * 2 + [np.flatnonzero(videos == 2)])
    expected = slow_error(confidence[again], right[again], table.edges)
    assert calibration.calibration_error(table.pooled([[0, 2, 1]]))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_calibration_error_equals_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    rng = np.random.default_rng(1)
    scores = rng.normal(size=(500, 5)).astype(np.float32) * 2
    probabilities = torch.softmax(torch.from_numpy(scores), dim=1)
    truth = rng.integers(0, 5, 500)
    confidence, said = calibration.top(probabilities.numpy().astype(np.float64))
    for num_bins in (10, 15):
        theirs = multiclass_calibration_error(probabilities, torch.from_numpy(truth), 5, num_bins, "l1")
        table = calibration.reliability(confidence, said == truth, np.zeros(500, np.int64), num_bins)
        assert calibration.calibration_error(table.pooled())[0] == pytest.approx(float(theirs), abs=1e-6)


def test_bins_of_equal_mass_hold_equally_many_rows_and_never_part_ties() -> None:
    rng = np.random.default_rng(0)
    confidence = 0.9 + 0.1 * rng.permutation(1000) / 1000
    rows = calibration.reliability(confidence, confidence > 0, np.zeros(1000, np.int64), 10, "mass").pooled().rows
    assert rows.tolist() == [[100] * 10]
    assert (calibration.reliability(confidence, confidence > 0, np.zeros(1000, np.int64), 10).rows > 0).sum() == 1
    tied = calibration.reliability(
        np.repeat([0.2, 0.7, 1.0], [500, 300, 200]), np.ones(1000), np.zeros(1000, int), 10, "mass"
    )
    assert [each for each in tied.rows[0] if each] == [500, 300, 200]


def test_brier_equals_sklearn() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(4), 300)
    truth = rng.integers(0, 3, 300)  # class 3 never occurs
    expected = sk.brier_score_loss(truth, probabilities, labels=range(4))
    assert calibration.brier(probabilities, truth).mean() == pytest.approx(expected, abs=1e-12)
    yes = truth == 1
    expected = sk.brier_score_loss(yes, probabilities[:, 1])
    assert calibration.binary_brier(probabilities[:, 1], yes).mean() == pytest.approx(expected, abs=1e-12)
    assert calibration.brier([[1.0, 0.0], [0.0, 1.0]], [0, 0]).tolist() == [0, 2]


def test_what_is_a_distribution() -> None:
    assert calibration.are_distributions([[0.5, 0.5], [1.0, 0.0]])
    assert not calibration.are_distributions([[0.5, 0.6]])
    assert not calibration.are_distributions([[1.5, -0.5]])
    assert not calibration.are_distributions(np.zeros((0, 2)))


def test_calibration_refuses() -> None:
    with pytest.raises(DataError, match=r"got 1.5 in row 1"):
        calibration.reliability([0.5, 1.5], [True, True], [0, 0])
    with pytest.raises(DataError, match="N > 0"):
        calibration.reliability([], [], [])
    with pytest.raises(DataError, match="must be one of width, mass, got 'some'"):
        calibration.reliability([0.5], [True], [0], 10, "some")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=">= 1, got 0"):
        calibration.reliability([0.5], [True], [0], 0)
    with pytest.raises(DataError, match="row 1 of the probabilities sums to 0.7, not 1"):
        calibration.brier([[0.5, 0.5], [0.5, 0.2]], [0, 1])
    with pytest.raises(DataError, match="from 0 to 1, got 0 to 2"):
        calibration.brier([[0.5, 0.5], [0.5, 0.5]], [0, 2])
