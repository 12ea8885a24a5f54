"""`eval --baselines`: published chance levels to the digit on the real labels, and sums by hand on made ones."""

import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from surgvl.commands.eval import evaluate
from surgvl.core.errors import ConfigError
from surgvl.core.files import read_json
from surgvl.core.results import Result
from surgvl.data.manifest import QA, Manifest, Segment, VideoRow

REAL = os.environ.get("SURGVL_REAL_DATA", "")
needs_labels = pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: real labels are not at hand")


def by_name(results: list[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


Levels = Callable[[str, str], dict[str, Result]]


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Levels:
    """Levels of real labels under a protocol, each scored once."""

    @cache
    def scored(data: str, protocol: str) -> dict[str, Result]:
        name, _, folder = data.partition(":")
        source, out = Path(f"{name}:{REAL}/labels/{folder}"), tmp_path_factory.mktemp("levels") / "out"
        return by_name(evaluate(source, out, baselines=True, split_protocol=protocol))

    return scored


@pytest.mark.slow
@needs_labels
@pytest.mark.parametrize(
    ("data", "protocol", "num_videos", "percents"),
    [
        # The standard one, as it is not named.
        ("cholec80:cholec80_csv", "", 40, {"accuracy": 39.02, "macro_f1_video": 8.05}),
        ("cholec80:cholec80_csv", "camma", 32, {"accuracy": 39.79, "macro_f1_video": 8.19}),
        ("autolaparo:autolaparo_csv", "", 7, {"accuracy": 25.02, "macro_f1_video": 6.11}),
        (
            "cholect50:cholect45_layout",
            "rdp",
            10,
            {"mAP_IVT": 3.08, "mAP_I": 24.27, "mAP_V": 15.24, "mAP_T": 10.28},
        ),
    ],
)
def test_levels_of_real_labels(
    data: str, protocol: str, num_videos: int, percents: dict[str, float], levels: Levels
) -> None:
    found = levels(data, protocol)
    for metric, percent in percents.items():
        assert 100 * found[metric].value == pytest.approx(percent, abs=0.0051)
        assert found[metric].num_videos == num_videos
        assert found[metric].encoder == "no model"


@needs_labels
@pytest.mark.slow
def test_blind_level_of_pitvqa(tmp_path: Path) -> None:
    """The published size of the question set, and what its most frequent training answers reach."""
    source = Path(f"pitvis:{REAL}/labels/pitvis")
    found = by_name(evaluate(source, tmp_path / "out", baselines=True, tasks=["vqa"]))
    assert found["accuracy"].num_clips == 203868
    levels = {"accuracy": 44.43, "macro_f1": 11.90, "balanced_accuracy": 14.56, "weighted_f1": 32.35}
    # Three quarters of the answers are never given, and each of them has precision 1.
    levels |= {"macro_precision_zd0": 16.77, "macro_precision_zd1": 85.19}
    for metric, percent in levels.items():
        assert 100 * found[metric].value == pytest.approx(percent, abs=0.005)
        assert found[metric].baselines["blind"] == found[metric].value
    assert found["accuracy"].per_class is not None
    assert found["accuracy"].per_class["operation"] == pytest.approx(0.365, abs=5e-4)


def made() -> Manifest:
    """Training videos a and b, test videos c and d; `close` is longest in training, `open` in test."""
    lengths = {"a": (2, 8), "b": (3, 6), "c": (8, 2), "d": (6, 2)}
    videos, segments, questions = [], [], []
    for video, (opened, closed) in lengths.items():
        split = "train" if video in "ab" else "test"
        videos.append(
            VideoRow(video_id=video, path="", source="made", fps=25, duration_s=opened + closed, split=split)  # type: ignore[arg-type]
        )
        for start, end, label in ((0, opened, "open"), (opened, opened + closed, "close")):
            segments.append(Segment(video_id=video, start_s=start, end_s=end, task="phase", label=label))
        for at, answer in enumerate(("yes", "no") if split == "train" else ("no", "maybe")):
            questions.append(
                QA(video_id=video, start_s=at, end_s=at + 1, question="Is it open?", answer=answer, type="state")
            )
            questions.append(
                QA(video_id=video, start_s=at, end_s=at + 1, question="What is seen?", answer="a hook", type="open")
            )
    return Manifest(videos, segments, questions)


@pytest.mark.slow
def test_the_constant_class_is_that_of_training(tmp_path: Path) -> None:
    made().save(tmp_path / "manifest")
    results = evaluate(tmp_path / "manifest", tmp_path / "out", baselines=True)
    phases = by_name([result for result in results if result.task == "phase"])
    assert phases["accuracy"].value == pytest.approx((2 / 10 + 2 / 8) / 2)
    assert "always close, majority: close (the longest of the training videos)" in phases["accuracy"].protocol
    assert phases["accuracy"].num_clips == 18
    # Drawn as often as in training, 5 of 19 seconds `open` and 14 `close`; five draws of 18 seconds.
    expected = ((5 * 8 + 14 * 2) / 190 + (5 * 6 + 14 * 2) / 152) / 2
    assert phases["accuracy"].baselines["prior"] == pytest.approx(expected, abs=0.2)
    closed = by_name([result for result in results if result.task == "vqa"])
    # `no` and `yes` are as frequent in training; the alphabetically first is said, and right once of two.
    assert closed["accuracy"].value == pytest.approx(0.5)
    assert closed["accuracy_open"].value == 1
    assert "the most frequent training answer of the question" in closed["accuracy"].protocol


def test_without_training_videos_the_constant_class_favours_the_baseline(tmp_path: Path) -> None:
    made().select(["c", "d"]).save(tmp_path / "manifest")
    found = by_name(evaluate(tmp_path / "manifest", tmp_path / "out", baselines=True, tasks=["phase"]))
    assert "always open (the longest of the test videos)" in found["accuracy"].protocol
    assert found["accuracy"].value == pytest.approx((8 / 10 + 6 / 8) / 2)


def rated(splits: str) -> Manifest:
    """Videos rated in total 10, 12, 30, 11, 25 and in flow 1 ... 5; t is training, e test."""
    videos = [
        VideoRow(
            video_id=f"v{at}", path="", source="made", fps=25, duration_s=60, split="train" if of == "t" else "test"
        )
        for at, of in enumerate(splits)
    ]
    values = {"skill_total": (10, 12, 30, 11, 25), "skill_flow": (1, 2, 3, 4, 5)}
    segments = [
        Segment(video_id=f"v{at}", start_s=0, end_s=60, task=kind, label=str(value))
        for kind, own in values.items()
        for at, value in enumerate(own)
    ]
    return Manifest(videos, segments)


def test_skill_is_the_median_of_training_and_has_no_ranks(tmp_path: Path) -> None:
    rated("tttee").save(tmp_path / "manifest")
    found = by_name(evaluate(tmp_path / "manifest", tmp_path / "out", baselines=True))
    assert found["total_mae"].value == pytest.approx((1 + 13) / 2)
    assert found["flow_mae"].value == pytest.approx((2 + 3) / 2)
    assert "always 12 (the median of the training videos)" in found["total_mae"].protocol
    assert found["total_mae"].baselines["median"] == found["total_mae"].value
    # The mean, 52 / 3, is further off.
    assert found["total_mae"].baselines["mean"] == pytest.approx((52 / 3 - 11 + 25 - 52 / 3) / 2)
    assert found["total_mae"].encoder == "no model"
    page = (tmp_path / "out" / "result.md").read_text()
    assert [line.split("|")[3].strip() for line in page.splitlines() if "| total_spearman" in line] == ["undefined"]
    assert "undefined where all predictions, or all labels, are equal" in page
    assert read_json(tmp_path / "out" / "result.json")[1]["value"] is None


def test_without_training_videos_the_median_is_that_of_test(tmp_path: Path) -> None:
    rated("eeeee").save(tmp_path / "manifest")
    found = by_name(evaluate(tmp_path / "manifest", tmp_path / "out", baselines=True, tasks=["skill"]))
    assert "always 12 (the median of the test videos)" in found["total_mae"].protocol
    assert found["total_mae"].value == pytest.approx((2 + 0 + 18 + 1 + 13) / 5)
    assert "median (of test)" in found["total_mae"].baselines


def test_baselines_take_no_model(tmp_path: Path) -> None:
    made().save(tmp_path / "manifest")
    with pytest.raises(ConfigError, match="--baselines scores no model"):
        evaluate(tmp_path / "manifest", tmp_path / "out", baselines=True, answers=tmp_path)


@pytest.mark.slow
@needs_labels
def test_the_constant_class_of_cholec80_is_counted_by_hand(levels: Levels) -> None:
    """The level of videos 41 to 80 again, from the files alone."""
    rows = {}
    for number in range(1, 81):
        text = (Path(REAL) / f"labels/cholec80_csv/video{number:02d}.csv").read_text()
        rows[number] = Counter(line.partition(",")[2] for line in text.split("\n")[1:] if line)
    training: Counter[str] = sum((rows[number] for number in range(1, 41)), Counter())
    longest = training.most_common(1)[0][0]
    shares = [rows[number][longest] / rows[number].total() for number in range(41, 81)]
    found = levels("cholec80:cholec80_csv", "")
    assert found["accuracy"].value == pytest.approx(sum(shares) / 40, abs=1e-9)
