"""Paired tests against scipy, every sign by hand, and a slow bootstrap; ties, equal pairs, absent scores."""

import itertools

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
    low, high = np.percentile(drawn, [2.5, 97.5]) - np.mean(drawn) + value
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-12)


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


@pytest.mark.parametrize("seed", range(4))
def test_wilcoxon_equals_every_sign_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.random(10)
    second = first - rng.normal(0.05, 0.1, 10)
    second[3] = first[3]  # an equal pair
    second[4] = np.nan
    away = [a - b for a, b in zip(first, second, strict=True) if a != b and not np.isnan(b)]
    assert wilcoxon(first, second) == pytest.approx(every_sign(away), abs=1e-12)
    assert wilcoxon(first, second) + wilcoxon(second, first) > 1


def test_wilcoxon_with_many_videos_and_with_ties_equals_scipy() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random(80), rng.random(80)
    expected = stats.wilcoxon(first, second, alternative="greater").pvalue
    assert wilcoxon(first, second) == pytest.approx(expected, abs=1e-12)
    tied = rng.integers(-2, 4, 30).astype(float)
    expected = stats.wilcoxon(tied[tied != 0], alternative="greater", method="approx").pvalue
    assert wilcoxon(tied, np.zeros(30)) == pytest.approx(expected, abs=1e-12)
    # 0.3 - 0.2 and 0.2 - 0.1 are equal but for rounding: a tie.
    assert wilcoxon([0.3, 0.2, 0.9], [0.2, 0.1, 0.3]) == wilcoxon([1.0, 1.0, 6.0], [0.0, 0.0, 0.0])


def test_equal_models_are_never_better() -> None:
    assert wilcoxon([0.5, 0.6], [0.5, 0.6]) == 1
    assert wilcoxon([np.nan], [0.5]) == 1
    with pytest.raises(DataError, match="each of the same videos"):
        wilcoxon([0.5], [0.5, 0.6])


def test_holm_by_hand() -> None:
    # Wright (Biometrics 1992), steps: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04; none below an earlier one.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
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
