"""One class for a whole video: scikit-learn on videos, ideal and constant models, files, and baselines by hand."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk

from surgvl.commands.eval import evaluate
from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.data.readers.cataract101 import Cataract101
from surgvl.tasks.base import Scores
from surgvl.tasks.video_class import Clip, Experience, SkillClass

REAL = os.environ.get("SURGVL_REAL_DATA", "")
LEVELS = ("novice", "intermediate", "expert")


def by_metric(results: list[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


@pytest.mark.slow
def test_scores_equal_sklearn() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 40))
    guess = np.where(rng.random(40) < 0.6, truth, guess)
    ids = [f"v{at:02d}" for at in range(40)]
    found = by_metric(Experience(truth).score(Scores(ids, np.zeros(40), np.eye(3)[guess], LEVELS)))
    expected = {
        "accuracy": sk.accuracy_score(truth, guess),
        "macro_f1": sk.f1_score(truth, guess, average="macro"),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, guess),
        "weighted_f1": sk.f1_score(truth, guess, average="weighted"),
        "precision_pooled": sk.precision_score(truth, guess, average="macro"),
        "jaccard_pooled": sk.jaccard_score(truth, guess, average="macro"),
        "quadratic_kappa": sk.cohen_kappa_score(truth, guess, weights="quadratic"),
    }
    assert {metric: result.value for metric, result in found.items()} == pytest.approx(expected, abs=1e-12)
    for result in found.values():
        assert result.low < result.value < result.high
        assert (result.num_videos, result.num_clips) == (40, 40)
    assert found["quadratic_kappa"].baselines["majority (of test)"] == 0
    clips = by_metric(Clip(truth).score(Scores(ids, np.zeros(40), np.eye(3)[guess], ("a", "b", "c"))))
    assert set(clips) == set(expected) - {"quadratic_kappa"}


def test_a_judge_who_is_always_far_off_is_worse_than_chance() -> None:
    truth = np.array([0, 2] * 10)
    ids = [f"v{at:02d}" for at in range(20)]
    found = by_metric(SkillClass(truth).score(Scores(ids, np.zeros(20), np.eye(3)[2 - truth], LEVELS)))
    assert found["quadratic_kappa"].value == -1
    assert found["quadratic_kappa"].low == -1


def manifest(labels: dict[str, dict[str, str]], test: str, lengths: dict[str, float] | None = None) -> Manifest:
    """Videos with labels over all of each (kind -> label); those in `test` are test videos, others training."""
    lengths = lengths or {}
    videos = [
        VideoRow(
            video_id=name,
            path="",
            source="made",
            fps=1,
            duration_s=lengths.get(name, 1),
            split="test" if name in test else "train",
        )
        for name in labels
    ]
    segments = [
        Segment(video_id=name, start_s=0, end_s=lengths.get(name, 1), task=kind, label=label)
        for name, own in labels.items()
        for kind, label in own.items()
    ]
    return Manifest(videos, segments)


@pytest.mark.slow
def test_moments_of_a_video_are_averaged_and_its_length_need_not_be_known(tmp_path: Path) -> None:
    truth = manifest({"a": {"clip": "cut"}, "b": {"clip": "suture"}, "c": {"clip": "cut"}, "d": {}}, "abcd")
    truth.save(tmp_path / "manifest")
    path = tmp_path / "p.csv"
    # a: 0.8 to 0.7 in sum; b: 0.9 to 0.6; c is wrong.
    path.write_text("video,time,cut,suture\na,0,0.1,0.6\na,7,0.7,0.1\nb,3,0.3,0.5\nb,4,0.3,0.4\nc,0,0.2,0.3\n")
    found = by_metric(evaluate(tmp_path / "manifest", tmp_path / "out", predictions=[path]))
    assert found["accuracy"].value == pytest.approx(2 / 3)
    assert found["accuracy"].by_video == {"a": 1, "b": 1, "c": 0}
    assert found["accuracy"].num_clips == 3
    assert "one class for each video; share of videos" in found["accuracy"].protocol
    assert found["accuracy"].warning == ""


@pytest.mark.slow
def test_decisions_vote_and_videos_without_a_prediction_are_told(tmp_path: Path) -> None:
    labels = {name: {"experience": level} for name, level in zip("abc", LEVELS, strict=True)}
    manifest(labels, "abc").save(tmp_path / "manifest")
    path = tmp_path / "p.csv"
    path.write_text("video,time,label\na,0,novice\na,1,novice\na,2,expert\nb,0,expert\n")
    found = by_metric(evaluate(tmp_path / "manifest", tmp_path / "out", predictions=[path]))
    assert found["accuracy"].by_video == {"a": 1, "b": 0}
    assert "1 of 3 videos has no predictions: c" in found["accuracy"].warning
    # Two votes of three are no probability of 2/3.
    assert "ece" not in found
    # The levels of a data set without a published order are in that of the alphabet, and told.
    assert "levels expert < intermediate < novice" in found["quadratic_kappa"].protocol


def test_a_video_of_two_classes_is_refused(tmp_path: Path) -> None:
    truth = manifest({"a": {"clip": "cut"}, "b": {"clip": "suture"}}, "ab")
    both = [*truth.segments, Segment(video_id="a", start_s=0, end_s=1, task="clip", label="suture")]
    Manifest(truth.videos, both).save(tmp_path / "manifest")
    path = tmp_path / "p.csv"
    path.write_text("video,time,label\na,0,cut\n")
    with pytest.raises(DataError, match="a at 0.0 s is in two clips, cut and suture: correct the segments"):
        evaluate(tmp_path / "manifest", tmp_path / "out", predictions=[path])


@pytest.mark.slow
def test_a_class_of_skill_is_no_part_of_the_score(tmp_path: Path) -> None:
    labels = {name: {"skill_class": LEVELS[at], "skill_total": str(10 * at)} for at, name in enumerate("abc")}
    manifest(labels, "abc").save(tmp_path / "manifest")
    (tmp_path / "class.csv").write_text(
        "video,time,label\n" + "".join(f"{v},0,{labels[v]['skill_class']}\n" for v in "abc")
    )
    (tmp_path / "total.csv").write_text("video,time,value\na,0,0\nb,0,10\nc,0,20\n")
    results = evaluate(
        tmp_path / "manifest", tmp_path / "one", predictions=[tmp_path / "class.csv"], predictions_kind="skill_class"
    )
    assert {result.task for result in results} == {"skill_class"}
    assert by_metric(results)["quadratic_kappa"].value == 1
    totals = evaluate(
        tmp_path / "manifest", tmp_path / "two", predictions=[tmp_path / "total.csv"], predictions_kind="skill_total"
    )
    assert {result.task for result in totals} == {"skill"}


@pytest.mark.slow
def test_the_baseline_says_the_class_of_most_training_videos(tmp_path: Path) -> None:
    """Not that of the longest: one training video of `cut` lasts longer than two of `suture`."""
    labels = {name: {"clip": "cut" if name in "axy" else "suture"} for name in "abcxyz"}
    manifest(labels, "xyz", {"a": 900, "b": 30, "c": 30, "x": 50, "y": 5, "z": 5}).save(tmp_path / "manifest")
    found = by_metric(evaluate(tmp_path / "manifest", tmp_path / "out", baselines=True))
    told = "always suture, majority: suture (the most frequent of the training videos)"
    assert told in found["accuracy"].protocol
    assert found["accuracy"].value == pytest.approx(1 / 3)
    assert found["macro_f1"].value == pytest.approx((2 * 1 / (3 + 1) + 0) / 2)
    assert found["accuracy"].num_clips == 3
    assert found["accuracy"].encoder == "no model"


@pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: real labels are not at hand")
def test_the_constant_experience_of_cataract101_is_counted_from_its_table(tmp_path: Path) -> None:
    folder = Path(REAL) / "labels_more/cataract101/cataract-101"
    with (folder / "videos.csv").open(encoding="utf-8") as file:
        rows = {f"case_{row['VideoID']}": row["Experience"] for row in csv.DictReader(file, delimiter=";")}
    splits = Cataract101.SPLITS["surgrec"]
    constant = Counter(rows[name] for name in splits["train"]).most_common(1)[0][0]
    right = [rows[name] == constant for name in splits["test"]]
    source = Path(f"cataract101:{folder}")
    found = by_metric(evaluate(source, tmp_path / "out", baselines=True, tasks=["experience"]))
    assert found["accuracy"].value == pytest.approx(sum(right) / len(right))
    assert found["quadratic_kappa"].value == 0
