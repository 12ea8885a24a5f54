"""Results: intervals that mean something, JSON without NaN, tables that hide nothing."""

import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from surgvl.core.errors import DataError
from surgvl.core.result_page import to_markdown
from surgvl.core.results import (
    Result,
    add_provenance,
    bootstrap,
    draws,
    read_results,
    tail_percent,
    video_mean,
    write_results,
)


def result(metric: str = "accuracy", value: float = 0.5, protocol: str = "1 fps, strict") -> Result:
    return Result(
        task="phase",
        metric=metric,
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        num_videos=8,
        num_clips=720,
        baselines={"majority": 0.39, "random": 0.143},
        protocol=protocol,
        encoder="frozen",
        num_trainable=12345,
        command="surgvl eval --out x",
        commit="abc",
        per_class={"Preparation": 0.25},
    )


def test_draws_are_videos_with_replacement() -> None:
    found = draws(7, seed=3)
    assert found.shape == (1000, 7)
    assert (found.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(found, draws(7, seed=3))
    assert not np.array_equal(found, draws(7, seed=4))
    # Each video is left out of a draw with probability (1 - 1/7)^7.
    assert (found == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.02)


def test_interval_equals_one_by_drawing_rows() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 12)
    value, low, high, _ = bootstrap(video_mean(values), 12, seed=1)
    assert value == pytest.approx(values.mean())
    means = [np.repeat(values, weight.astype(int)).mean() for weight in draws(12, seed=1)]
    shift = values.mean() - np.median(means)
    # Student's t with eleven degrees of freedom cuts off 2.201; 1 % of a normal distribution is below -2.3.
    tail = 100 * stats.norm.cdf(-2.200985 * math.sqrt(12 / 11))
    assert tail == pytest.approx(1.08, abs=0.01)
    assert [low, high] == pytest.approx(list(np.percentile(means, [tail, 100 - tail]) + shift))


@pytest.mark.parametrize("num_videos", [5, 7, 10, 40, 1000])
def test_few_videos_are_cut_as_student_says(num_videos: int) -> None:
    t = stats.t.ppf(0.975, num_videos - 1)
    expected = 100 * stats.norm.cdf(-t * math.sqrt(num_videos / (num_videos - 1)))
    assert tail_percent(num_videos) == pytest.approx(expected, rel=0.01)
    assert tail_percent(num_videos) < 2.5
    assert tail_percent(2) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("num_videos", [5, 8, 30])
def test_intervals_hold_the_mean_of_other_videos_as_often_as_they_say(num_videos: int) -> None:
    """Plain percentiles of five videos hold it 84 times in a hundred."""
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(200):
        _, low, high, _ = bootstrap(video_mean(rng.uniform(0.2, 0.8, num_videos)), num_videos, seed=trial)
        held += low <= 0.5 <= high
    assert 180 <= held <= 198


def test_an_interval_holds_its_score_even_when_draws_miss_low_classes() -> None:
    # Class means of [1, 0.1, 0.1, ...], each low class in one video: plain percentiles start above the score.
    table = np.full((10, 11), np.nan)
    table[:, 0] = 1
    table[np.arange(10), np.arange(1, 11)] = 0.1

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        defined = np.isfinite(table)
        with np.errstate(invalid="ignore"):
            means = (weights @ np.where(defined, table, 0)) / (weights @ defined)
        return np.asarray(np.nanmean(means, axis=1))

    value, low, high, _ = bootstrap(statistic, 10)
    assert np.percentile(statistic(draws(10)), 2.5) > value
    assert low < value < high


def test_intervals_stay_within_bounds() -> None:
    _, low, high, _ = bootstrap(video_mean([1.0, 1.0, 1.0, 0.7]), 4)
    assert low < 0.925 < high <= 1
    assert bootstrap(video_mean([1.0] * 5), 5)[:3] == (1, 1, 1)
    _, low, high, _ = bootstrap(video_mean([0.0, 1.0, 2.0, 9.0]), 4, bounds=(2.0, math.inf))
    assert low == 2 < 3 < high


def test_one_video_has_no_interval_and_none_is_an_error() -> None:
    value, low, high, drawn = bootstrap(video_mean([0.25]), 1)
    assert value == 0.25
    assert math.isnan(low)
    assert math.isnan(high)
    assert not len(drawn)
    with pytest.raises(DataError, match="no video to score"):
        bootstrap(video_mean([]), 0)


def test_a_score_that_hangs_on_one_video_has_no_interval() -> None:
    """Draws without the only video that defines a score define none, so all others agree, and would claim no doubt."""
    of_one = [math.nan] * 299 + [0.25]
    value, low, high, drawn = bootstrap(video_mean(of_one), 300)
    assert (value, math.isnan(low), math.isnan(high), len(drawn)) == (0.25, True, True, 0)
    with_two = bootstrap(video_mean([*of_one, 0.75]), 301)
    assert with_two[:3] == (0.5, 0.25, 0.75)
    undefined = bootstrap(video_mean([math.nan] * 3), 3)
    assert np.isnan(undefined[:3]).all()


def test_the_interval_of_a_constant_class_holds_one_in_c() -> None:
    # Of four classes one is in four of twelve videos: draws that lack it have a balanced accuracy of 1/3, not 1/4.
    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(weights[:, :4].any(axis=1), 1 / 4, 1 / 3)

    drawn = statistic(draws(12))
    assert 0 < (drawn > 0.3).mean() < 0.025
    assert (np.percentile(drawn, 97.5) - drawn.mean() + 1 / 4) < 1 / 4, "centred on the mean, it misses the score"
    assert bootstrap(statistic, 12)[:3] == (1 / 4, 1 / 4, 1 / 4)


def test_video_mean_leaves_out_videos_without_the_metric() -> None:
    assert bootstrap(video_mean([0.2, math.nan, 0.4]), 3)[0] == pytest.approx(0.3)


def test_a_thousand_draws_of_eighty_videos_take_a_moment() -> None:
    table = np.random.default_rng(0).random((80, 100))
    start = time.process_time()
    bootstrap(lambda weights: (weights @ table).mean(axis=1) / 80, 80)
    assert time.process_time() - start < 4


def test_json_round_trip(tmp_path: Path) -> None:
    odd = dataclasses.replace(
        result("edit"), low=math.nan, high=math.nan, baselines={"random": math.nan}, per_class=None, warning="seen"
    )
    spread = dataclasses.replace(result("recall"), sd_videos=0.25, detail=True)
    write_results(tmp_path / "result.json", [result(), odd, spread])
    assert "NaN" not in (tmp_path / "result.json").read_text()
    first, second, third = read_results(tmp_path / "result.json")
    assert first == result()
    assert third == spread
    assert second.per_class is None
    assert second.warning == "seen"
    assert math.isnan(second.low)
    assert math.isnan(second.baselines["random"])
    (tmp_path / "result.json").write_text(json.dumps([{"task": "phase"}]))
    with pytest.raises(DataError, match="result 0"):
        read_results(tmp_path / "result.json")
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(DataError, match="not a list of results"):
        read_results(tmp_path / "result.json")


def test_markdown_says_everything() -> None:
    rank = dataclasses.replace(result("median_rank", 12.0), baselines={}, low=math.nan, high=math.nan, num_videos=1)
    page = to_markdown([result(protocol="1 fps, strict; pooled"), rank])
    assert (
        page
        == """| task  | metric      | value [95 % over videos] | blind baselines               | videos | clips | encoder                |
| ----- | ----------- | ------------------------ | ----------------------------- | -----: | ----: | ---------------------- |
| phase | accuracy    | 0.500 [0.400, 0.600]     | majority 0.390 · random 0.143 |      8 |   720 | frozen, 12,345 trained |
| phase | median_rank | 12.0 [one video]         | –                             |      1 |   720 | frozen, 12,345 trained |

- phase: 1 fps, strict
  - accuracy: pooled
- phase accuracy by part: Preparation 0.250
- command: `surgvl eval --out x`
- commit: abc
"""  # noqa: E501
    )


def test_lines_of_a_table_are_of_one_length_and_bars_are_escaped() -> None:
    lines = to_markdown([dataclasses.replace(result(), metric="a|b"), result("weighted_f1")]).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert "a\\|b" in table[2]


def test_a_control_stands_beside_and_only_where_the_protocol_is_the_same() -> None:
    control = [result("accuracy", 0.2), result("edit", 0.3, protocol="smoothed")]
    page = to_markdown([result(), result("edit")], control, "random encoder")
    head, _, first, second = (line for line in page.splitlines() if line.startswith("|"))
    assert "random encoder" in head
    assert "0.500 [0.400, 0.600]     | 0.200 [0.100, 0.300]" in first
    assert "0.300" not in second
    assert second.count("–") == 1


def test_details_stand_in_a_second_table_beside_what_has_a_deviation() -> None:
    main = dataclasses.replace(result(), sd_videos=0.0625)
    detail = dataclasses.replace(result("recall", 0.25), detail=True, sd_videos=0.125, sd_classes=0.1875)
    control = [dataclasses.replace(result("recall", 0.125), detail=True)]
    page = to_markdown([main, detail, result("edit")], control, "random encoder")
    first, second, *_ = page.split("\n\n")
    assert [line.split("|")[2].strip() for line in first.splitlines()[2:]] == ["accuracy", "edit"]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in second.splitlines()]
    blind = "majority 0.390 · random 0.143"
    assert cells[0] == [
        *("phase in detail", "value [95 % over videos]", "random encoder", "blind baselines"),
        *("SD over videos", "SD over classes"),
    ]
    assert cells[2:] == [
        ["accuracy", "0.500 [0.400, 0.600]", "–", blind, "0.062", "–"],
        ["recall", "0.250 [0.150, 0.350]", "0.125 [0.025, 0.225]", blind, "0.125", "0.188"],
    ]
    # Without a detail there is no second table.
    assert "in detail" not in to_markdown([main])
    assert to_markdown([detail]).startswith("| phase in detail ")


def test_warnings_are_marked_and_explained() -> None:
    stamped = add_provenance(
        [result()], encoder="fine-tuned", num_trainable=7, command="c", commit="d", warning="2 seen"
    )
    assert stamped[0].encoder == "fine-tuned"
    page = to_markdown(stamped)
    assert "accuracy (!)" in page
    assert "- (!): 2 seen" in page
    assert "fine-tuned, 7 trained" in page


def test_an_empty_table_is_an_error() -> None:
    with pytest.raises(DataError, match="no results to show"):
        to_markdown([])
