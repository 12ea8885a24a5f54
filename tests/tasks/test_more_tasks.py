"""Multi-label, gesture and step tasks, and calibration: ideal, random and constant models, against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics as sk
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.metrics.temporal import segment_counts, segment_f1
from surgvl.tasks.base import Scores
from surgvl.tasks.gesture import Gesture
from surgvl.tasks.multi_label import CriticalView, Tool
from surgvl.tasks.phase import Phase
from surgvl.tasks.step import Step

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


def test_steps_are_scored_as_phases_are() -> None:
    truth, ids, times_s = trials()
    scores = Scores(ids, times_s, np.random.default_rng(0).normal(size=(len(truth), 4)), NAMES)
    steps, phases = Step(truth).score(scores), Phase(truth).score(scores)
    assert [(each.metric, each.value) for each in steps] == [(each.metric, each.value) for each in phases]
    assert {each.task for each in steps} == {"step"}
    with pytest.raises(DataError, match="rows has a step"):
        Step(np.full(len(truth), -1)).score(scores)


# ---- calibration


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


def test_overconfidence_costs_calibration_but_not_accuracy() -> None:
    truth, ids, times_s = trials(8)
    logits = np.random.default_rng(3).normal(size=(len(truth), 4)) + 1.5 * np.eye(4)[truth]
    calm, bold = (by_metric(Phase(truth).score(Scores(ids, times_s, softmax(k * logits), NAMES))) for k in (1.5, 9.0))
    assert bold["accuracy"].value == calm["accuracy"].value
    assert bold["ece"].value > calm["ece"].value + 0.1
    assert bold["ece_mass"].value > calm["ece_mass"].value + 0.1
    assert bold["brier"].value > calm["brier"].value
