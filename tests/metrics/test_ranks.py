"""Errors and rank correlation of predicted numbers against scipy and scikit-learn; ties, constants, draws, nothing."""

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy import stats

from surgvl.core.errors import DataError
from surgvl.metrics import ranks


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_spearman_equals_scipy_with_and_without_ties(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=40)
    predicted = truth + rng.normal(size=40)
    if levels:
        truth, predicted = np.round(truth * levels), np.round(predicted * levels)
    np.testing.assert_array_equal(ranks.ranks(truth), stats.rankdata(truth))
    assert ranks.spearman(truth, predicted)[0] == pytest.approx(stats.spearmanr(truth, predicted)[0], abs=1e-12)
    counts = rng.multinomial(40, np.full(40, 1 / 40), 20)
    again = [np.repeat(np.arange(40), row) for row in counts]
    expected = [stats.spearmanr(truth[rows], predicted[rows])[0] for rows in again]
    np.testing.assert_allclose(ranks.spearman(truth, predicted, counts), expected, atol=1e-12)
    assert ranks.absolute_error(truth, predicted).mean() == pytest.approx(
        sk.mean_absolute_error(truth, predicted), abs=1e-12
    )


def test_a_constant_has_no_rank_correlation() -> None:
    assert np.isnan(ranks.spearman([1, 2, 3], [0.1, 0.1, 0.1])[0])
    assert np.isnan(ranks.spearman([1.0], [2.0])[0])
    assert np.isnan(ranks.spearman([1, 1, 2], [1, 2, 3], [[1, 2, 0]])[0])
    assert ranks.spearman([1, 2, 3], [3, 2, 1])[0] == -1


def test_nearest_level() -> None:
    levels = [6, 12, 20]
    values = np.array([-5, 6, 8.9, 9, 9.1, 15.9, 16.1, 40])
    expected = [min(range(3), key=lambda at: abs(levels[at] - value)) for value in values]
    assert ranks.nearest_level(values, levels).tolist() == expected
    assert ranks.nearest_level([3.0], [1]).tolist() == [0]


def test_ranks_refuse() -> None:
    with pytest.raises(DataError, match="equal length, N > 0"):
        ranks.spearman([], [])
    with pytest.raises(DataError, match=r"truth \(2,\) and prediction \(1,\)"):
        ranks.absolute_error([1, 2], [1])
    with pytest.raises(DataError, match="must be finite"):
        ranks.spearman([1, np.nan], [1, 2])
