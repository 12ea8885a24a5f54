"""What the benchmark says of its runs: differences by hand, verdicts that follow from intervals, a page of files."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

import surgvl.commands.bench
from surgvl.bench.compare import combined, difference, scores, verdict_of
from surgvl.bench.jobs import Job
from surgvl.bench.plan import EFFECTS, PROBES, RANDOM, ROWS, Effect
from surgvl.cli import main as cli
from surgvl.commands.bench import bench_recipes
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import write_json
from surgvl.core.results import Result, write_results

Float = NDArray[np.float64]


def table(*values: float) -> Float:
    """A score for each video."""
    return np.array(values, np.float64)[:, None]


def test_a_difference_is_paired_by_seed_and_video() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.random((3, 6, 4)), rng.random((3, 6, 4))
    mine[0, 2, 1] = theirs[1, 4, 3] = np.nan
    tables = {
        "a": {seed: {"verb": mine[seed]} for seed in range(3)},
        "b": {seed: {"verb": theirs[seed]} for seed in (0, 1)},
    }
    found = difference(tables, "a", "b", "verb")

    def by_hand(videos: Sequence[int]) -> float:
        def mean(scores: Float) -> float:
            return float(np.nanmean([np.nanmean(scores[list(videos), name]) for name in range(4)]))

        return float(np.mean([mean(mine[seed]) - mean(theirs[seed]) for seed in (0, 1)]))

    assert found.value == pytest.approx(by_hand(range(6)))
    higher = [np.nanmean(np.nanmean(mine[s], 0)) > np.nanmean(np.nanmean(theirs[s], 0)) for s in (0, 1)]
    assert found.seeds == (sum(higher), 2)
    # As `by_hand`, for all draws together.
    videos = rng.integers(0, 6, (2000, 6))
    of_seeds = [np.nanmean(mine[s][videos], 1).mean(1) - np.nanmean(theirs[s][videos], 1).mean(1) for s in (0, 1)]
    drawn = np.mean(of_seeds, axis=0)
    assert drawn[:9] == pytest.approx([by_hand(each) for each in videos[:9].tolist()])
    # Of six videos: Student's t with five degrees of freedom. So far out, draws of another seed differ by more.
    tail = 100 * NormalDist().cdf(-2.570582 * np.sqrt(6 / 5))
    low, high = np.percentile(drawn, [tail, 100 - tail]) - np.median(drawn) + found.value
    assert found.low == pytest.approx(low, abs=0.025)
    assert found.high == pytest.approx(high, abs=0.025)
    assert scores(tables, "b", "verb") == pytest.approx([np.nanmean(np.nanmean(theirs[s], 0)) for s in (0, 1)])
    # Pairing: what all videos gain alike has no spread, however much videos differ.
    gained = {"a": {0: {"verb": mine[1] + 0.25}}, "b": {0: {"verb": mine[1]}}}
    sure = difference(gained, "a", "b", "verb")
    assert [sure.low, sure.high] == pytest.approx([0.25, 0.25])


def test_differences_of_errors_may_exceed_one() -> None:
    rng = np.random.default_rng(0)
    errors = rng.uniform(1, 3, (2, 8, 1)) + np.array([0.0, 4.0])[:, None, None]
    tables = {name: {0: {"skill": -each}} for name, each in zip(("good", "poor"), errors, strict=True)}
    found = difference(tables, "good", "poor", "skill")
    assert found.value == pytest.approx(errors[1].mean() - errors[0].mean())
    assert 3 < found.low < found.value < found.high < 5
    assert found.verdict == "yes"


def test_verdicts_follow_from_intervals() -> None:
    base = table(0.2, 0.4, 0.6, 0.8)
    tables = {
        "base": {0: dict.fromkeys(PROBES, base)},
        "better": {0: dict.fromkeys(PROBES, base + 0.1)},
        "worse": {0: dict.fromkeys(PROBES, base - 0.1)},
        "same": {0: dict.fromkeys(PROBES, base)},
        "mixed": {0: dict.fromkeys(PROBES, base + table(0.2, -0.2, 0.2, -0.1))},
        "one video": {0: dict.fromkeys(PROBES, base[:1])},
    }
    verdicts = {row: difference(tables, row, "base", "verb").verdict for row in tables if row != "one video"}
    assert verdicts == {"base": "no", "better": "yes", "worse": "no", "same": "no", "mixed": "not clear"}
    assert difference(tables, "absent", "base", "verb").verdict == "not measured"
    lonely = {"one": {0: {"verb": base[:1] + 0.5}}, "two": {0: {"verb": base[:1]}}}
    assert difference(lonely, "one", "two", "verb").verdict == "not clear"
    for rows, expected in (
        (("better",), "yes"),
        (("better", "mixed"), "not clear"),
        (("better", "mixed", "worse"), "no"),
        (("better", "absent"), "not measured"),
    ):
        verdict, found = verdict_of(tables, Effect("", tuple((row, "base") for row in rows), ("verb", "phase")))
        assert (verdict, len(found)) == (expected, 2 * len(rows))
    assert combined(["yes", "yes"]) == "yes"


def test_the_expected_effects_speak_of_rows() -> None:
    names = {row.name for row in ROWS}
    assert {name for effect in EFFECTS for pair in effect.pairs for name in pair} <= names
    assert len(EFFECTS) == 9
    assert len(EFFECTS[0].pairs) == 7


# ---- the page, of files as the jobs leave them


def leave(job: Job, gain: float) -> None:
    """Write what a job of the plan would write, with scores that are higher by `gain` for trained encoders."""
    out = Path(job.argv[job.argv.index("--out") + 1]) if "--out" in job.argv else Path(job.argv[-1])
    random = "--random_encoder" in job.argv
    seed = 0.01 * float(out.name.partition("-s")[2] or 0) if job.argv[0] == "probe" else 0.0
    if job.argv[0] == "pretrain":
        out.mkdir(parents=True)
        lines = [{"step": 0, "clips_per_s": 0.0}, {"step": 1, "clips_per_s": 90.0}, {"step": 2, "clips_per_s": 110.0}]
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        write_json(out / "run.json", {"device": "abacus"})
    elif job.argv[0] == "probe":
        value = 0.3 + seed + (0.0 if random else gain)
        tables = {probe: [[value], [value + 0.2], [None if probe == "verb" else value]] for probe in PROBES}
        write_json(out / "videos.json", {"videos": ["a", "b", "c"], **tables})
        facts = {"num_parameters": 1_927_488, "device": "cpu", "packages": {"torch": "9.9"}, "commit": "c0ffee"}
        write_json(out / "run.json", facts)
        kinds = {probe: ("mAP_video", {"constant": 0.111, "random": 0.122}) for probe in PROBES}
        kinds["phase"] = ("accuracy", {"majority": 0.133, "random": 0.144})
        results = [
            Result(
                task=probe, metric=metric, value=0.5, low=0.4, high=0.6, num_videos=3, num_clips=30,
                baselines=baselines, protocol="made up; mean over videos",
            )
            for probe, (metric, baselines) in kinds.items()
        ]  # fmt: skip
        write_results(out / "result.json", results)


def pretend(gain: float, failing: Mapping[str, str]) -> Callable[..., dict[str, str]]:
    """Stands for `run_jobs`: leaves the files of the jobs that are not done, without running anything."""

    def run_jobs(
        jobs: Sequence[Job], out: Path, done: dict[str, float], save: Callable[[], None], *_: object
    ) -> dict[str, str]:
        for job in jobs:
            if job.name not in done and job.name not in failing:
                leave(job, gain)
                done[job.name] = 1.0
        save()
        return dict(failing)

    return run_jobs


@pytest.mark.slow
def test_the_page_says_what_the_files_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(surgvl.commands.bench, "run_jobs", pretend(0.1, {}))
    cli.run(["bench", "recipes", "--out", "b", "--seeds", "0", "1", "2", "--clips", "8000"])
    page = (tmp_path / "benchmarks" / "results" / "recipes.md").read_text()
    assert page == (tmp_path / "b" / "result.md").read_text()
    assert page in capsys.readouterr().out
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in table_lines(page)}
    # 0.3 + 0.1 and the mean of 0, 0.2 and 0 (of 0 and 0.2 for verbs), and 0.01 for each seed.
    assert lines["videomae"][0] == "0.477 (0.467 to 0.487)"
    assert lines["videomae"][1] == "0.510 (0.500 to 0.520)"
    assert lines["random"][0] == "0.377 (0.367 to 0.387)"
    assert lines["videomae"][4:] == ["8,000", "100", "1,927,488"]
    assert lines["random"][4:] == ["0", "–", "1,927,488"]
    assert lines["surgvista"][4] == "8,000 (+ 8,000 by its teacher)"
    assert lines["zen"][4] == "8,000 (+ 8,000 and 8,000 by its teachers)"
    assert lines["image_mae"][4] == "8,000 single frames"
    assert lines["image_mae, all frames read out"][4:6] == ["8,000 single frames", "100"]
    assert lines["surgvista, no distillation"][4] == "8,000"
    assert lines["blind baseline, constant"][:4] == ["0.133", "0.111", "0.111", "0.111"]
    assert lines["blind baseline, random"][0] == "0.144"
    assert lines["videomae − random"][0] == "+0.100 [+0.100, +0.100] 3/3"
    assert lines["surgrec_mae, clusters alike − random, rare source"][0] == "+0.100 [+0.100, +0.100] 3/3"
    assert lines["unisurg − unisurg, no motion"][1] == "+0.000 [+0.000, +0.000] 0/3"
    assert lines[EFFECTS[0].text] == ["yes", "yes 28", "–"]
    assert lines[EFFECTS[1].text][0] == "no"
    assert "verb" in lines["SurgVISTA gains by its teacher"][2]
    for words in ("nothing about patients", "abacus", "torch 9.9", "c0ffee", "surgvl bench recipes --out b", "made up"):
        assert words in page
    both = json.loads((tmp_path / "b" / "result.json").read_text())
    assert both["rows"]["videomae"]["scores"]["phase"]["2"] == pytest.approx(0.4867, abs=1e-4)
    assert [effect["found"] for effect in both["effects"]] == ["yes", *["no"] * 8]


def table_lines(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("| ")]


@pytest.mark.slow
def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {"pretrain/vjepa-s0": "status 1: out of luck", "probe/vjepa-s0": "skipped: it needs pretrain/vjepa-s0"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(surgvl.commands.bench, "run_jobs", pretend(-0.1, failing))
    words = ["bench", "recipes", "--out", "b", "--seeds", "0", "--only", "vjepa", "videomae"]
    with pytest.raises(DataError, match=r"2 of 7 jobs failed; the same command tries them again:\s+pretrain/vjepa-s0"):
        cli.run(words)
    page = (tmp_path / "b" / "result.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in table_lines(page)}
    assert "vjepa" not in lines
    assert "-0.100 [-0.100, -0.100] 0/1" in lines["videomae − random"]
    assert lines[EFFECTS[0].text].split("|")[2].strip() == "no"
    assert lines[EFFECTS[3].text].split("|")[2].strip() == "not measured"
    assert "- failed: pretrain/vjepa-s0: status 1: out of luck" in page
    assert not (tmp_path / "benchmarks").exists()

    # The rest is added without doing again what is done; other clips need another folder.
    monkeypatch.setattr(surgvl.commands.bench, "run_jobs", pretend(-0.1, {}))
    before = (tmp_path / "b" / "probe" / "videomae-s0" / "videos.json").stat().st_mtime_ns
    cli.run([*words, "--report", str(tmp_path / "r.md")])
    assert "| vjepa " in (tmp_path / "r.md").read_text()
    assert (tmp_path / "b" / "probe" / "videomae-s0" / "videos.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="was started with"):
        bench_recipes(Path("b"), clips=64)
    with pytest.raises(ConfigError, match="--clips and --workers must be >= 1"):
        bench_recipes(Path("b"), workers=0)


def test_the_bare_command_lists_the_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench"]) == 0
    shown = capsys.readouterr().out
    assert "surgvl bench recipes" in shown
    assert all(row.name in shown for row in ROWS)
    assert RANDOM in shown
