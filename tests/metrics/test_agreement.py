"""Kappa and raters against scikit-learn and loops over pairs; ties, absent classes, one class, nothing."""

import itertools
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from surgvl.core.errors import DataError
from surgvl.metrics import agreement


@pytest.mark.parametrize("seed", range(4))
def test_quadratic_kappa_equals_sklearn_for_videos_and_draws_of_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, videos = rng.integers(0, 5, 80), np.concatenate([[0, 1, 2], rng.integers(0, 3, 77)])
    truth[truth == 3] = 2  # a class that is never true
    predicted = np.clip(truth + rng.integers(-2, 3, 80), 0, 4)
    tables = agreement.confusion(truth, predicted, videos, 5)
    expected = sk.cohen_kappa_score(truth, predicted, weights="quadratic", labels=range(5))
    assert agreement.quadratic_kappa(tables.sum(axis=0)) == pytest.approx(expected, abs=1e-12)
    for video in range(3):
        rows = videos == video
        expected = sk.cohen_kappa_score(truth[rows], predicted[rows], weights="quadratic", labels=range(5))
        assert agreement.quadratic_kappa(tables)[video] == pytest.approx(expected, abs=1e-12)
    again = np.repeat(np.arange(80), np.array([2, 0, 1])[videos])
    expected = sk.cohen_kappa_score(truth[again], predicted[again], weights="quadratic", labels=range(5))
    drawn = np.asarray(np.tensordot([[2.0, 0, 1]], tables, 1), np.float64)
    assert agreement.quadratic_kappa(drawn)[0] == pytest.approx(expected, abs=1e-12)


def test_quadratic_kappa_at_its_ends() -> None:
    def kappa(truth: list[int], predicted: list[int]) -> float:
        return float(agreement.quadratic_kappa(agreement.confusion(truth, predicted, [0] * len(truth), 3)[0]))

    assert kappa([0, 1, 2], [0, 1, 2]) == 1
    assert kappa([0, 0, 2, 2], [2, 2, 0, 0]) == -1
    assert kappa([0, 1, 2], [1, 1, 1]) == 0
    assert np.isnan(kappa([1, 1], [1, 1]))


def slow_pairs(ratings: Any) -> float:
    """Pairs of raters that agree, row by row."""
    pairs = [a == b for row in ratings for a, b in itertools.combinations(row, 2)]
    return float(sum(pairs) / len(pairs))


@pytest.mark.parametrize("num_raters", [2, 3, 5])
def test_raters_equal_loops_over_pairs(num_raters: int) -> None:
    rng = np.random.default_rng(num_raters)
    base = rng.random(60) < 0.3
    ratings = np.where(rng.random((60, num_raters)) < 0.2, ~base[:, None], base[:, None]).astype(int)
    observed = slow_pairs(ratings.tolist())
    sums = agreement.rater_sums(ratings, np.arange(60) // 20)
    pooled = sums.sum(axis=0)
    assert agreement.pairwise_agreement(pooled) == pytest.approx(observed, abs=1e-12)
    thirds = [slow_pairs(ratings[at : at + 20].tolist()) for at in (0, 20, 40)]
    np.testing.assert_allclose(agreement.pairwise_agreement(sums), thirds, atol=1e-12)
    # Fleiss: agreement by chance is that of two ratings drawn from all of them, with replacement.
    every = ratings.ravel().tolist()
    by_chance = sum(a == b for a in every for b in every) / len(every) ** 2
    assert agreement.chance_agreement(pooled) == pytest.approx(by_chance, abs=1e-12)
    assert agreement.fleiss_kappa(pooled) == pytest.approx((observed - by_chance) / (1 - by_chance), abs=1e-12)


def test_majority() -> None:
    nan = float("nan")
    assert agreement.majority([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, nan, nan], [0.0, 0.0, 0.0]]).tolist() == [
        True,
        False,
        True,
        False,
    ]
    with pytest.raises(DataError, match="row 1 has 1 of 2 raters for it"):
        agreement.majority([[1, 1, nan], [1, 0, nan]])
    with pytest.raises(DataError, match="row 0 has no rating"):
        agreement.majority([[nan, nan]])


def test_one_class_has_no_kappa() -> None:
    sums = agreement.rater_sums(np.ones((4, 3)), [0, 0, 0, 2])
    assert np.isnan(agreement.fleiss_kappa(sums)).all()
    np.testing.assert_array_equal(agreement.pairwise_agreement(sums), [1, np.nan, 1])


def test_agreement_refuses() -> None:
    with pytest.raises(DataError, match="all of at least two raters"):
        agreement.rater_sums([[1, np.nan, 0]], [0])
    with pytest.raises(DataError, match="all of at least two raters"):
        agreement.rater_sums([[1]], [0])
    with pytest.raises(DataError, match="must be 0 or 1"):
        agreement.majority([[0.5, 1, 1]])
    with pytest.raises(DataError, match=r"\[N rows, J raters\], got \(0,\)"):
        agreement.majority([])
    with pytest.raises(DataError, match="from 0 to 1, got 0 to 2"):
        agreement.confusion([0, 2], [0, 1], [0, 0], 2)
    with pytest.raises(DataError, match="two integer arrays"):
        agreement.confusion([0, 1], [0], [0, 0], 2)
