"""`compare`: differences, intervals and tests of runs over the same videos, against scipy and a bootstrap by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from surgvl.cli import main as cli
from surgvl.commands.compare import compare, lower_is_better
from surgvl.commands.eval import evaluate
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest, Segment, VideoRow

VIDEOS = [f"case{at}" for at in range(8)]
SECONDS = 40


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight test videos: half of each is `open`, half `close`."""
    videos = [
        VideoRow(video_id=name, path="", source="made", fps=25, duration_s=SECONDS, split="test") for name in VIDEOS
    ]
    halves = ((0, SECONDS // 2, "open"), (SECONDS // 2, SECONDS, "close"))
    segments = [
        Segment(video_id=name, start_s=start, end_s=end, task="phase", label=label)
        for name in VIDEOS
        for start, end, label in halves
    ]
    Manifest(videos, segments).save(tmp_path / "manifest")
    return tmp_path / "manifest"


def run_of(folder: Path, manifest: Path, num_wrong: Mapping[str, int]) -> Path:
    """A run whose first seconds of each video are wrong."""
    lines = ["video,time,label"]
    for name, wrong in num_wrong.items():
        lines += [f"{name},{t},{'open' if (t < SECONDS // 2) != (t < wrong) else 'close'}" for t in range(SECONDS)]
    (path := folder.with_suffix(".csv")).write_text("\n".join(lines))
    evaluate(manifest, folder, predictions=[path], tasks=["phase"])
    return folder


def of(report: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    return next(row for row in report if row["metric"] == metric)


@pytest.mark.slow
def test_differences_and_tests_equal_those_by_hand(manifest: Path, tmp_path: Path) -> None:
    wrong = {
        "base": [10, 12, 9, 14, 11, 8, 13, 10],
        "better": [4, 7, 5, 6, 13, 1, 3, 9],
        "alike": [10, 12, 9, 14, 11, 8, 13, 9],
    }
    runs = [run_of(tmp_path / name, manifest, dict(zip(VIDEOS, each, strict=True))) for name, each in wrong.items()]
    out = tmp_path / "compared"
    cli.run(["compare", *map(str, runs), "--out", str(out)])
    report = json.loads((out / "compare.json").read_text())
    row = of(report, "accuracy")
    accuracy = {name: 1 - np.array(each) / SECONDS for name, each in wrong.items()}
    assert row["values"] == pytest.approx({name: each.mean() for name, each in accuracy.items()})
    better, alike = row["differences"]
    away = accuracy["better"] - accuracy["base"]
    assert better["value"] == pytest.approx(away.mean())
    assert better["better"] == 7
    p_values = [
        stats.wilcoxon(np.round(accuracy[name] - accuracy["base"], 12), alternative="greater").pvalue
        for name in ("better", "alike")
    ]
    assert [better["p"], alike["p"]] == pytest.approx(p_values)
    assert [better["p_holm"], alike["p_holm"]] == pytest.approx([2 * min(p_values), max(p_values)])
    # A bootstrap of the differences with draws of its own.
    draws = np.random.default_rng(7).choice(away, (20_000, len(away))).mean(axis=1)
    tail = 100 * stats.norm.cdf(-stats.t.ppf(0.975, 7) * np.sqrt(8 / 7))
    assert [better["low"], better["high"]] == pytest.approx(np.percentile(draws, [tail, 100 - tail]), abs=0.02)
    # The interval of the difference is narrower than those of the scores would make it: videos are paired.
    assert alike["high"] - alike["low"] < 0.02
    page = (out / "compare.md").read_text()
    assert "minus base" in page
    assert "7 of 8" in page


@pytest.mark.slow
def test_scores_on_other_videos_are_not_tested(manifest: Path, tmp_path: Path) -> None:
    first = run_of(tmp_path / "first", manifest, dict.fromkeys(VIDEOS, 5))
    second = run_of(tmp_path / "second", manifest, dict.fromkeys(VIDEOS[:4], 3))
    compare([first, second], tmp_path / "out")
    (each,) = of(json.loads((tmp_path / "out" / "compare.json").read_text()), "accuracy")["differences"]
    assert each["why_not"] == "other videos"
    assert each["p"] is None
    assert "other videos" in (tmp_path / "out" / "compare.md").read_text()


@pytest.mark.slow
def test_runs_of_other_seeds_have_no_paired_interval(manifest: Path, tmp_path: Path) -> None:
    """Their videos were drawn apart, so that differences of draws would be those of luck."""
    first = run_of(tmp_path / "first", manifest, dict.fromkeys(VIDEOS, 5))
    path = tmp_path / "first.csv"
    evaluate(manifest, tmp_path / "second", predictions=[path], tasks=["phase"], seed=1)
    compare([first, tmp_path / "second"], tmp_path / "out")
    (each,) = of(json.loads((tmp_path / "out" / "compare.json").read_text()), "accuracy")["differences"]
    assert (each["value"], each["low"], each["p"], each["why_not"]) == (0, None, 1, "")
    page = (tmp_path / "out" / "compare.md").read_text()
    assert "- second: no intervals, as its videos were drawn with seed 1, and not 0" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "task", "first", "then"),
    [
        ("cholec80", "phase", "compare {0} {1} --out {2}-published --published cholec80", "eval --suite surgrec16 "),
        ("cholec80", "zero-shot phase", "compare {0} {1} --out {2}-published", "eval --suite zero_shot --root DATA "),
        ("phantom", "phase", "eval --suite phantom --out phantom", ""),
        ("made", "phase", "read {2}/compare.md", ""),
    ],
)
def test_the_next_command_fits_what_was_compared(
    said: str, task: str, first: str, then: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run_of(tmp_path / name, manifest, dict.fromkeys(VIDEOS, 5)) for name in ("one", "two")]
    for run in runs:
        text = (run / "result.json").read_text()
        how = f" split of {said}, zero-shot with its words," if "zero" in task else f" split of {said},"
        assert " split of made," in text
        (run / "result.json").write_text(text.replace(" split of made,", how))
    out = tmp_path / "out"
    compare(runs, out)
    assert first.format(*runs, out) in capsys.readouterr().out.splitlines()[-1]
    if then:
        compare(runs, out, published=said, resume=True)
        assert f"next: surgvl {then}" in capsys.readouterr().out


def test_errors_are_better_when_lower_in_every_mode_of_answers() -> None:
    errors = ["ece", "ece_mass", "brier", "mae", "total_mae", "number_error", "median_rank", "association_rfn"]
    errors += [
        f"{name}{mode}" for name in ("wording_spread", "flip_rate", "unparsed_rate") for mode in ("", "_head", "_open")
    ]
    assert [name for name in errors if not lower_is_better(name)] == []
    others = [
        "accuracy",
        "accuracy_open",
        "macro_recall_zd0",
        "recall@5_raw",
        "association_lm",
        "edit",
        "spearman",
        "rater_agreement",
    ]
    assert [name for name in others if lower_is_better(name)] == []


@pytest.mark.slow
def test_what_cannot_be_compared_is_refused(manifest: Path, tmp_path: Path) -> None:
    first = run_of(tmp_path / "first", manifest, dict.fromkeys(VIDEOS, 5))
    with pytest.raises(ConfigError, match="needs two runs or more, got 1"):
        compare([first], tmp_path / "out")
    with pytest.raises(ConfigError, match="each run must be given once"):
        compare([first, first], tmp_path / "out2")
    with pytest.raises(DataError, match="absent.result.json does not exist"):
        compare([first, tmp_path / "absent"], tmp_path / "out3")
