"""Paired tests against scipy, every sign by hand, and a slow bootstrap; ties, equal pairs, absent scores."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from surgvl.core.errors import DataError
from surgvl.core.results import draws, video_mean
from surgvl.metrics.paired import holm, paired_difference, wilcoxon


def test_the_interval_of_a_difference_equals_a_slow_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(9), rng.random(9)
    found = paired_difference([video_mean(first)], [video_mean(second)], 9)
    drawn = []
    for row in draws(9):
        rows = np.repeat(np.arange(9), row.astype(int))
        drawn.append(first[rows].mean() - second[rows].mean())
    value = first.mean() - second.mean()
    # Student's t with eight degrees of freedom.
    tail = 100 * stats.norm.cdf(-2.306004 * math.sqrt(9 / 8))
    low, high = np.percentile(drawn, [tail, 100 - tail]) - np.median(drawn) + value
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-3)


def test_a_shared_difficulty_of_videos_cancels_out() -> None:
    difficulty = np.random.default_rng(1).random(12) * 0.8
    better = paired_difference([video_mean(difficulty + 0.1)], [video_mean(difficulty)], 12)
    assert (better.value, better.low, better.high) == pytest.approx((0.1, 0.1, 0.1))
    assert better.verdict == "yes"
    assert paired_difference([video_mean(difficulty)], [video_mean(difficulty + 0.1)], 12).verdict == "no"
    same = paired_difference([video_mean(difficulty)] * 2, [video_mean(difficulty)] * 2, 12)
    assert (same.value, same.verdict) == (0, "no")
    with pytest.raises(DataError, match="1 scores of one model and 2"):
        paired_difference([video_mean(difficulty)], [video_mean(difficulty)] * 2, 12)


def every_sign(away: list[float]) -> float:
    """Exact p-value: the share of all signs with at least this sum of positive ranks."""
    ranks = stats.rankdata(np.abs(away))
    observed = sum(rank for rank, each in zip(ranks, away, strict=True) if each > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product([0, 1], repeat=len(away))]
    return float(sum(each >= observed for each in sums) / len(sums))


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("seed", range(4))
def test_wilcoxon_equals_every_sign_by_hand(seed: int, decimals: int) -> None:
    """With one decimal, most differences are tied in size."""
    rng = np.random.default_rng(seed)
    second = np.round(rng.random(10), decimals)
    away = np.round(rng.normal(0.05, 0.2, 10), decimals)
    away[3] = 0  # an equal pair
    first = second + away
    second[4] = np.nan
    kept = [float(each) for at, each in enumerate(away) if each and at != 4]
    assert wilcoxon(first, second) == pytest.approx(every_sign(kept), abs=1e-12)
    assert wilcoxon(first, second) + wilcoxon(second, first) > 1


def test_wilcoxon_of_darwins_maize() -> None:
    """Crossed minus self-fertilised plants in eighths of an inch (Darwin 1876): published p-value, R's and scipy's."""
    away = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert wilcoxon(away, [0] * 15) == 676 / 2**15
    assert 2 * wilcoxon(away, [0] * 15) == pytest.approx(0.04126, abs=5e-6)


@pytest.mark.parametrize("num_videos", [12, 50])
def test_wilcoxon_without_ties_equals_scipys_exact_one(num_videos: int) -> None:
    away = np.random.default_rng(num_videos).normal(0.1, 1, num_videos)
    expected = stats.wilcoxon(away, alternative="greater", method="exact").pvalue
    assert wilcoxon(away, np.zeros(num_videos)) == pytest.approx(expected, rel=1e-9)


def test_four_equal_differences_are_no_evidence() -> None:
    assert wilcoxon([0.75] * 4, [0.5] * 4) == 1 / 16
    assert wilcoxon([0.5] * 4, [0.75] * 4) == 1


def test_wilcoxon_with_many_videos_is_the_normal_approximation() -> None:
    """Mean and variance of the rank sum by the book, that of ties of size t lower by (t^3 - t) / 48."""
    rng = np.random.default_rng(3)
    for away in (rng.normal(0.1, 1, 80), rng.integers(-2, 4, 90).astype(float)):
        kept = away[away != 0]
        num = len(kept)
        ties = np.unique(np.abs(kept), return_counts=True)[1]
        variance = num * (num + 1) * (2 * num + 1) / 24 - (ties**3 - ties).sum() / 48
        above = stats.rankdata(np.abs(kept))[kept > 0].sum() - num * (num + 1) / 4
        expected = math.erfc(above / math.sqrt(2 * variance)) / 2
        assert wilcoxon(away, np.zeros(len(away))) == pytest.approx(expected, rel=1e-9)


def test_differences_that_are_equal_but_for_rounding_are_tied() -> None:
    # 0.3 - 0.2 and 0.2 - 0.1 are equal but for rounding: a tie.
    assert wilcoxon([0.3, 0.2, 0.9], [0.2, 0.1, 0.3]) == wilcoxon([1.0, 1.0, 6.0], [0.0, 0.0, 0.0])


def test_equal_models_are_never_better() -> None:
    assert wilcoxon([0.5, 0.6], [0.5, 0.6]) == 1
    assert wilcoxon([np.nan], [0.5]) == 1
    with pytest.raises(DataError, match="each of the same videos"):
        wilcoxon([0.5], [0.5, 0.6])


def test_holm_by_hand() -> None:
    # Steps: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04; none below an earlier one.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]).tolist() == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    found = holm([0.01, np.nan, 0.02])
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.02])
    assert np.isnan(found[1])
    assert holm([]).tolist() == []
    with pytest.raises(DataError, match=r"in 0 \.\.\. 1"):
        holm([1.2])


def test_holm_rejects_what_the_step_down_rule_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.random(6) ** 3
        rejected = set()
        for step, at in enumerate(np.argsort(values)):
            if values[at] > 0.05 / (6 - step):
                break
            rejected.add(int(at))
        assert set(np.flatnonzero(holm(values) <= 0.05).tolist()) == rejected
