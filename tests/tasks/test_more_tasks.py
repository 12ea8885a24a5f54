"""Multi-label, gesture, step and skill tasks, and calibration: ideal, random and constant models, and scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
from numpy.typing import NDArray
from scipy import stats

from surgvl.core.errors import DataError
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.core.predictions import Predictions
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.metrics.temporal import segment_counts, segment_f1
from surgvl.tasks.base import Scores
from surgvl.tasks.gesture import Gesture
from surgvl.tasks.multi_label import CriticalView, Tool
from surgvl.tasks.numbers import Numbers, number_labels
from surgvl.tasks.phase import Phase
from surgvl.tasks.predicted import Predicted
from surgvl.tasks.skill import Skill
from surgvl.tasks.step import Step
from surgvl.tasks.triplet import Triplet
from surgvl.tasks.truth import seconds_to_score

NAMES = ("Grasper", "Bipolar", "Hook", "Scissors")


def by_metric(results: list[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


def tools(num_videos: int = 4, seed: int = 0) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    """Truth; the last video lacks class 2, and class 3 is nowhere."""
    truth = (np.random.default_rng(seed).random((num_videos * 50, 4)) < [0.5, 0.3, 0.1, 0]).astype(np.int64)
    truth[-50:, 2] = 0
    ids = [f"video{at:02d}" for at in range(num_videos) for _ in range(50)]
    return truth, ids, np.tile(np.arange(50) + 0.5, num_videos)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    up = np.exp(scores)
    return np.asarray(up / up.sum(axis=1, keepdims=True))


# ---- multi-label


def test_multi_label_scores_equal_sklearn() -> None:
    truth, ids, times_s = tools()
    probabilities = np.clip(0.6 * truth + np.random.default_rng(1).random(truth.shape) * 0.6 - 0.1, 0, 1)
    found = by_metric(Tool(truth).score(Scores(ids, times_s, probabilities, NAMES)))
    own = range(3)  # of class 3 there is none
    said = probabilities >= 0.5
    expected = {
        "mAP": np.mean([sk.average_precision_score(truth[:, k], probabilities[:, k]) for k in own]),
        "balanced_accuracy": np.mean([sk.balanced_accuracy_score(truth[:, k], said[:, k]) for k in own]),
        "macro_f1": sk.f1_score(truth, said, average="macro", labels=own),
        "brier": np.mean([sk.brier_score_loss(truth[:, k], probabilities[:, k], pos_label=1) for k in range(4)]),
    }
    by_video = np.full((4, 3), np.nan)
    for video in range(4):
        rows = slice(50 * video, 50 * video + 50)
        for k in own:
            if truth[rows, k].any():
                by_video[video, k] = sk.average_precision_score(truth[rows, k], probabilities[rows, k])
    assert np.isnan(by_video).sum() == 1
    expected["mAP_video"] = np.nanmean(by_video, axis=0).mean()
    for metric, value in expected.items():
        assert found[metric].value == pytest.approx(value, abs=1e-12), metric
        assert found[metric].low <= value <= found[metric].high
    assert set(found) == {*expected, "ece", "ece_mass"}
    per_class = found["balanced_accuracy"].per_class
    assert per_class == pytest.approx(
        {NAMES[k]: sk.balanced_accuracy_score(truth[:, k], said[:, k]) for k in own}, abs=1e-12
    )


def test_an_ideal_model_finds_every_criterion_and_one_without_a_threshold_gets_no_cut_scores() -> None:
    truth, ids, times_s = tools()
    for result in CriticalView(truth).score(Scores(ids, times_s, truth.astype(float), NAMES)):
        assert (result.task, result.value, result.low, result.high) == ("cvs", 1, 1, 1)
        assert all(0 <= value < 0.9 for value in result.baselines.values())
    logits = CriticalView(truth).score(Scores(ids, times_s, 9.0 * truth - 3, NAMES))
    assert {result.metric: result.value for result in logits} == {"mAP": 1, "mAP_video": 1}


@pytest.mark.slow
def test_constant_and_random_scores_equal_their_baselines() -> None:
    truth, ids, times_s = tools(12)
    for result in Tool(truth).score(Scores(ids, times_s, np.zeros(truth.shape), NAMES)):
        assert result.value == pytest.approx(result.baselines["constant"], abs=1e-12)
    random = np.random.default_rng(4).random(truth.shape)
    found = by_metric(Tool(truth).score(Scores(ids, times_s, random, NAMES)))
    for metric in ("mAP", "mAP_video", "balanced_accuracy", "macro_f1"):
        assert found[metric].value == pytest.approx(found[metric].baselines["random"], abs=0.05)


def test_multi_label_scores_do_not_depend_on_row_order() -> None:
    truth, ids, times_s = tools()
    rng = np.random.default_rng(2)
    scores = np.round(rng.random(truth.shape), 1)
    order = rng.permutation(len(truth))
    before = Tool(truth).score(Scores(ids, times_s, scores, NAMES))
    after = Tool(truth[order]).score(Scores([ids[at] for at in order], times_s[order], scores[order], NAMES))
    for a, b in zip(before, after, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)


def test_multi_label_refuses() -> None:
    truth, ids, times_s = tools()
    scores = Scores(ids, times_s, np.zeros(truth.shape), NAMES)
    with pytest.raises(DataError, match=r"tool truth must be 0 or 1 of shape \(200, 4\)"):
        Tool(truth[1:]).score(scores)
    with pytest.raises(DataError, match="no tool occurs in 200 rows"):
        Tool(truth * 0).score(scores)


# ---- gestures and steps


def trials(num_videos: int = 5) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    own = [np.repeat(rng.integers(0, 4, 6), rng.integers(3, 12, 6)) for _ in range(num_videos)]
    ids = [f"Suturing_B00{at}" for at, each in enumerate(own) for _ in each]
    return np.concatenate(own), ids, np.concatenate([np.arange(len(each)) / 10 for each in own])


def test_segments_of_gestures_are_scored_by_trial_and_together() -> None:
    truth, ids, times_s = trials()
    rng = np.random.default_rng(1)
    guess = np.where(rng.random(len(truth)) < 0.15, rng.integers(0, 4, len(truth)), truth)
    found = by_metric(Gesture(truth, rate_fps=10).score(Scores(ids, times_s, np.eye(4)[guess], NAMES)))
    videos = np.unique(ids, return_inverse=True)[1]
    counts = [segment_counts(truth[videos == v], guess[videos == v], 0.5) for v in range(5)]
    trial, pooled = found["segment_f1_50_trial"], found["segment_f1_50"]
    assert trial.value == pytest.approx(np.mean([2 * a / (2 * a + b + c) for a, b, c in counts]), abs=1e-12)
    assert pooled.value == pytest.approx(float(segment_f1(np.sum(counts, axis=0))), abs=1e-12)
    assert trial.value != pooled.value
    assert (trial.detail, pooled.detail) == (False, True)
    assert "mean over trials" in trial.protocol
    assert found["accuracy"].value == pytest.approx(
        np.mean([(truth == guess)[videos == v].mean() for v in range(5)]), abs=1e-12
    )


@pytest.mark.slow
def test_steps_are_scored_as_phases_are() -> None:
    truth, ids, times_s = trials()
    scores = Scores(ids, times_s, np.random.default_rng(0).normal(size=(len(truth), 4)), NAMES)
    steps, phases = Step(truth).score(scores), Phase(truth).score(scores)
    assert [(each.metric, each.value) for each in steps] == [(each.metric, each.value) for each in phases]
    assert {each.task for each in steps} == {"step"}
    with pytest.raises(DataError, match="rows has a step"):
        Step(np.full(len(truth), -1)).score(scores)


# ---- calibration


@pytest.mark.slow
def test_probabilities_are_scored_for_calibration_and_other_scores_are_not() -> None:
    truth, ids, times_s = trials(8)
    probabilities = softmax(np.random.default_rng(3).normal(size=(len(truth), 4)) + 2 * np.eye(4)[truth])
    found = by_metric(Phase(truth).score(Scores(ids, times_s, probabilities, NAMES)))
    assert found["brier"].value == pytest.approx(sk.brier_score_loss(truth, probabilities, labels=range(4)), abs=1e-12)
    wrong = (probabilities.argmax(axis=1) != truth).mean()
    assert found["ece"].baselines["certain"] == pytest.approx(wrong)
    assert found["brier"].baselines["certain"] == pytest.approx(2 * wrong)
    assert 0 < found["ece"].value < wrong
    assert found["ece"].low < found["ece"].value < found["ece"].high
    for other in (np.log(probabilities), np.eye(4)[truth], 0.5 * probabilities):
        assert "ece" not in by_metric(Phase(truth).score(Scores(ids, times_s, other, NAMES)))


@pytest.mark.slow
def test_probabilities_of_triplets_are_scored_for_calibration() -> None:
    names = [TRIPLET_NAMES[at] for at in (0, 20, 60, 94)]
    truth, ids, times_s = tools()
    probabilities = np.clip(0.6 * truth + np.random.default_rng(1).random(truth.shape) * 0.4, 0, 1)
    found = by_metric(Triplet(truth, names=names).score(Scores(ids, times_s, probabilities, names)))
    expected = np.mean([sk.brier_score_loss(truth[:, k], probabilities[:, k], pos_label=1) for k in range(4)])
    assert found["brier"].value == pytest.approx(expected, abs=1e-12)
    same = by_metric(Tool(truth).score(Scores(ids, times_s, probabilities, NAMES)))
    for metric in ("ece", "ece_mass", "brier"):
        assert found[metric].value == same[metric].value
        assert found[metric].detail
    logits = Triplet(truth, names=names).score(Scores(ids, times_s, 9 * probabilities - 3, names))
    assert "brier" not in by_metric(logits)


def test_similarities_with_sentences_are_no_probabilities_whatever_their_range() -> None:
    truth, ids, times_s = tools()
    cosines = 0.2 + 0.1 * np.random.default_rng(1).random(truth.shape)
    assert set(by_metric(Tool(truth, by_text=True).score(Scores(ids, times_s, cosines, NAMES)))) == {"mAP", "mAP_video"}
    names = [TRIPLET_NAMES[at] for at in (0, 20, 60, 94)]
    found = Triplet(truth, names=names, by_text=True).score(Scores(ids, times_s, cosines, names))
    assert all(result.metric.startswith("mAP") for result in found)


def test_a_class_that_a_file_lacks_leaves_probabilities_what_they_are() -> None:
    labels = [(f"v{at}", "phase", name, 0.0, 20.0) for at, name in enumerate(("a", "b", "a", "b", "c"))]
    ids, times_s = [f"v{at}" for at in (1, 2, 3, 4)], np.full(4, 5.0)
    table = np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [1.0, 0.0]], np.float32)
    file = Predictions("phase", ids, times_s, ("a", "b"), table, facts={"model": "m"})
    (group,) = Predicted([(Path("p.parquet"), file)], manifest(labels), "test", ["phase"], lambda *_: ()).clips("phase")
    assert group.scores.scores.tolist() == [[*row, 0.0] for row in table.tolist()]
    logits = Predictions("phase", ids, times_s, ("a", "b"), 4 * table, facts={"model": "m"})
    (group,) = Predicted([(Path("p.parquet"), logits)], manifest(labels), "test", ["phase"], lambda *_: ()).clips(
        "phase"
    )
    assert (group.scores.scores[:, 2] == -1).all()


@pytest.mark.slow
def test_overconfidence_costs_calibration_but_not_accuracy() -> None:
    truth, ids, times_s = trials(8)
    logits = np.random.default_rng(3).normal(size=(len(truth), 4)) + 1.5 * np.eye(4)[truth]
    calm, bold = (by_metric(Phase(truth).score(Scores(ids, times_s, softmax(k * logits), NAMES))) for k in (1.5, 9.0))
    assert bold["accuracy"].value == calm["accuracy"].value
    assert bold["ece"].value > calm["ece"].value + 0.1
    assert bold["ece_mass"].value > calm["ece_mass"].value + 0.1
    assert bold["brier"].value > calm["brier"].value


# ---- skill


def ratings(num_videos: int = 30) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Whole scores with ties, predictions around them, and ids."""
    rng = np.random.default_rng(0)
    truth = rng.integers(6, 31, num_videos).astype(float)
    truth[-2:] = truth[0]
    return truth, truth + rng.normal(0, 4, num_videos), [f"Suturing_B{at:03d}" for at in range(num_videos)]


def test_skill_scores_equal_scipy_and_sklearn() -> None:
    truth, guess, ids = ratings()
    training = np.array([6.0, 20.0, 31.0])
    found = by_metric(Skill(truth, training, "total").score(Numbers(ids, guess)))
    nearest = np.clip(np.ceil(guess - 0.5), 6, 31)
    expected = {
        "total_mae": sk.mean_absolute_error(truth, guess),
        "total_spearman": stats.spearmanr(truth, guess)[0],
        "total_accuracy": (nearest == truth).mean(),
        "total_quadratic_kappa": sk.cohen_kappa_score(truth, nearest, labels=range(6, 32), weights="quadratic"),
    }
    assert set(found) == set(expected)
    for metric, value in expected.items():
        assert found[metric].value == pytest.approx(value, abs=1e-12), metric
        assert found[metric].low < value < found[metric].high
    assert found["total_mae"].baselines["mean"] == pytest.approx(np.abs(truth - 19).mean())
    assert found["total_mae"].baselines["median"] == pytest.approx(np.abs(truth - 20).mean())
    assert set(found["total_spearman"].baselines) == {"shuffled"}
    assert abs(found["total_spearman"].baselines["shuffled"]) < 0.3


def test_an_ideal_judge_of_skill() -> None:
    truth, _, ids = ratings()
    found = by_metric(Skill(truth).score(Numbers(ids, truth)))
    assert {metric: result.value for metric, result in found.items()} == pytest.approx(
        {"mae": 0, "spearman": 1, "accuracy": 1, "quadratic_kappa": 1}
    )
    assert "mean (of test)" in found["mae"].baselines
    # Scores between whole numbers are levels of their own.
    halves = by_metric(Skill(truth / 2 + 0.25).score(Numbers(ids, truth / 2 + 0.3)))
    assert halves["accuracy"].value == 1


def test_skill_refuses() -> None:
    truth, guess, ids = ratings()
    with pytest.raises(DataError, match="30 predictions for truth of shape"):
        Skill(truth[1:]).score(Numbers(ids, guess))
    with pytest.raises(DataError, match="one for each video"):
        Numbers(["a", "a"], guess[:2])


# ---- from files


def manifest(segments: list[tuple[str, str, str, float, float]]) -> Manifest:
    """Four test videos and one training video of 20 s; segments of video, task, label, start, end."""
    splits = ["train", "test", "test", "test", "test"]
    videos = [
        VideoRow(video_id=f"v{at}", path="", source="made", fps=1, duration_s=20, split=split)  # type: ignore[arg-type]
        for at, split in enumerate(splits)
    ]
    return Manifest(videos, [Segment(video_id=v, task=t, label=n, start_s=a, end_s=b) for v, t, n, a, b in segments])


def test_parts_of_skill_are_scored_from_files() -> None:
    labels = [(f"v{at}", "skill_total", str(10 + at), 0.0, 20.0) for at in range(5)]
    labels += [(f"v{at}", "skill_flow", "3", 0.0, 20.0) for at in range(3)]
    truth = manifest(labels)
    ids = [name for name in ("v1", "v2", "v4") for _ in range(2)]
    said = np.array([10.0, 12, 12, 12, 15, 17])
    total = Predictions("skill_total", ids, np.tile([5.0, 15.0], 3), (), None, said, {"model": "judge"})
    levels = Predictions("skill_flow", ["v1", "v2"], np.array([0.0, 0]), ("2", "3"), np.eye(2, dtype=np.float32))
    files = [(Path("a.parquet"), total), (Path("b.parquet"), levels)]
    found = Predicted(files, truth, "test", ["skill"], lambda kind, dataset: ()).numbers("skill")
    assert [each.kind for each in found] == ["skill_total", "skill_flow"]
    assert (found[0].numbers.values.tolist(), found[0].truth.tolist()) == ([11, 12, 16], [11, 12, 14])
    assert found[0].training.tolist() == [10]
    assert "judge, 1 of 4 labelled videos without a prediction" in found[0].protocol
    assert (found[1].numbers.values.tolist(), found[1].truth.tolist()) == ([2, 3], [3, 3])
    with pytest.raises(DataError, match="'novice' of v1 is not a number"):
        number_labels(manifest([("v1", "skill_class", "novice", 0, 20)]), "skill_class")


def test_moments_that_nobody_rated_are_not_scored() -> None:
    rated = [(f"v{at}", "cvs_rated", "rated", 5.0, 10.0) for at in (1, 2)]
    truth = manifest([*rated, ("v1", "cvs", "C1", 5.0, 10.0), ("v3", "cvs", "C2", 0.0, 2.0)])
    ids, times_s, labels = seconds_to_score(truth.split("test"), "cvs")
    # v2 was rated, and meets no criterion; v3 has no ratings, so that all of it counts; v4 has no label at all.
    assert [ids.count(f"v{at}") for at in range(5)] == [0, 5, 5, 20, 0]
    assert sorted(times_s[:5].tolist()) == [5, 6, 7, 8, 9]
    assert labels[:10] == [["C1"]] * 5 + [[]] * 5
