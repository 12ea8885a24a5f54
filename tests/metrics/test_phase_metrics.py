"""Phase metrics against scikit-learn and slow second versions: averages, deviations, relaxed boundaries, F1@overlap."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.metrics import classify, temporal
from surgvl.metrics.classify import deviation, over_pooled_rows, over_videos, over_videos_then_classes
from surgvl.metrics.relaxed import Mode, forgive, relaxed_scores

SKLEARN: dict[str, Callable[..., Any]] = {
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
    "jaccard": sk.jaccard_score,
}


def procedures(seed: int, num_classes: int = 7, num_videos: int = 5) -> list[NDArray[np.int64]]:
    """Truth, prediction and video: classes in order, some left out, with late, early and stray predictions."""
    rng = np.random.default_rng(seed)
    truths, guesses, videos = [], [], []
    for video in range(num_videos):
        kept = np.flatnonzero(rng.random(num_classes) < 0.75)
        truth = np.repeat(kept, rng.integers(2, 40, len(kept)))
        guess = np.roll(truth, rng.integers(-8, 9))
        stray = rng.random(len(truth)) < 0.1
        guess[stray] = np.clip(truth[stray] + rng.integers(-2, 3, stray.sum()), 0, num_classes - 1)
        truths.append(truth)
        guesses.append(guess)
        videos.append(np.full(len(truth), video))
    return [np.concatenate(part) for part in (truths, guesses, videos)]


# ---- precision, recall, F1, Jaccard


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
def test_means_over_classes_equal_sklearn(metric: str, zero_division: float, seed: int) -> None:
    truth, predicted, _ = procedures(seed)
    # Class 1 is never predicted, class 2 never true.
    predicted[predicted == 1], truth[truth == 2] = 0, 3
    counts = classify.count(truth, predicted, np.zeros(len(truth), np.int64), 7)
    values = getattr(classify, metric)(counts)
    for absent, labels in (("union", None), ("truth", np.unique(truth)), ("all", range(7))):
        expected = SKLEARN[metric](truth, predicted, average="macro", labels=labels, zero_division=zero_division)
        found = classify.class_mean(values, counts, absent, zero_division)[0]  # type: ignore[arg-type]
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("metric", SKLEARN)
def test_averages_and_deviations_equal_sklearn_by_video_and_class(metric: str) -> None:
    truth, predicted, videos = procedures(11)
    counts = classify.count(truth, predicted, videos, 7)
    function = SKLEARN[metric]
    table = np.full((5, 7), np.nan)
    by_video = []
    for video in range(5):
        rows = truth[videos == video], predicted[videos == video]
        for label in np.unique(rows[0]):
            table[video, label] = function(*rows, labels=[label], average="macro", zero_division=0)
        by_video.append(function(*rows, average="macro", zero_division=0))
    assert np.isnan(table).any(), "no class is absent from a video"

    values = getattr(classify, metric)(counts)
    mine = over_videos_then_classes(np.where(counts.truth > 0, np.nan_to_num(values), np.nan))
    per_class = np.nanmean(table, axis=0)
    assert mine.statistic(np.ones((1, 5)))[0] == pytest.approx(per_class.mean(), abs=1e-12)
    assert mine.sd_classes == pytest.approx(np.std(per_class, ddof=1), abs=1e-12)
    assert mine.sd_videos == pytest.approx(np.std(np.nanmean(table, axis=1), ddof=1), abs=1e-12)
    np.testing.assert_allclose(mine.per_class, per_class, atol=1e-12)  # type: ignore[arg-type]

    mine = over_videos(classify.class_mean(values, counts, "union"))
    assert mine.statistic(np.ones((1, 5)))[0] == pytest.approx(np.mean(by_video), abs=1e-12)
    assert mine.sd_videos == pytest.approx(np.std(by_video, ddof=1), abs=1e-12)
    assert np.isnan(mine.sd_classes)

    mine = over_pooled_rows(getattr(classify, metric), counts, "truth")
    labels = np.unique(truth)
    each = function(truth, predicted, labels=labels, average=None, zero_division=0)
    assert mine.statistic(np.ones((1, 5)))[0] == pytest.approx(each.mean(), abs=1e-12)
    assert mine.sd_classes == pytest.approx(np.std(each, ddof=1), abs=1e-12)
    assert np.isnan(mine.sd_videos)
    # Videos drawn twice or not at all count as rows repeated or dropped.
    again = np.repeat(np.arange(len(truth)), np.array([2, 0, 1, 0, 2])[videos])
    labels = np.unique(truth[again])
    expected = function(truth[again], predicted[again], labels=labels, average="macro", zero_division=0)
    assert mine.statistic(np.array([[2.0, 0, 1, 0, 2]]))[0] == pytest.approx(expected, abs=1e-12)


def test_one_value_has_no_deviation() -> None:
    assert np.isnan(deviation(np.array([0.5, np.nan])))
    assert deviation(np.array([0.25, np.nan, 0.75])) == pytest.approx(0.125**0.5)


# ---- relaxed boundaries


def slow_forgiven(truth: Sequence[int], predicted: Sequence[int], first: int, size: int, script: bool) -> list[bool]:
    """Frame by frame; ids from 1 as in the script, `first` is the id of gallbladder dissection."""
    end, away = 0, [guess - true for true, guess in zip(truth, predicted, strict=True)]
    for label, run in itertools.groupby(truth):
        start, end = end, end + len(list(run))
        allowed_late, allowed_early = {-1}, {1}
        if label in (first, first + 1, first + 2, first + 3):
            allowed_early.add(2)
        if label in (first + 2, first + 3):
            allowed_late.add(-2)
        within = min(size, end - start)
        for frame in range(start, start + within):
            if away[frame] in allowed_late:
                away[frame] = 0
        early = [offset for offset in range(within) if away[end - within + offset] in allowed_early]
        for offset in early:
            away[(start if script else end - within) + offset] = 0
    return [each == 0 for each in away]


def slow_scores(truth: Any, predicted: Any, right: Sequence[bool], label: int) -> tuple[float, float, float, float]:
    """Precision, recall, F1 and Jaccard of a class, from sets of frames, with MATLAB's 0/0 and x/0."""
    true, guess = ({at for at, each in enumerate(ids) if each == label} for ids in (truth, predicted))
    hits = sum(right[at] for at in true | guess)
    precision = hits / len(guess) if guess else (np.inf if hits else np.nan)
    recall = hits / len(true)
    f1 = 2 * precision * recall / (precision + recall) if 0 < precision < np.inf else np.nan
    return precision, recall, f1, hits / len(true | guess)


def slow_dice(truth: Any, predicted: Any, right: Sequence[bool], label: int) -> float:
    """F1 as twice the hits over true and predicted frames."""
    hits = sum(each for at, each in enumerate(right) if label in (truth[at], predicted[at]))
    return float(2 * hits / (truth.count(label) + predicted.count(label)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("mode", "num_classes", "first"),
    [("m2cai_matlab", 7, 4), ("m2cai_matlab", 8, 5), ("symmetric", 7, 4), ("symmetric", 8, 5), ("symmetric", 10, 99)],
)
def test_relaxed_scores_equal_slow_ones(mode: Mode, num_classes: int, first: int, seed: int) -> None:
    truth, predicted, videos = procedures(seed, num_classes)
    # A class that is never predicted; some of its frames may be forgiven.
    predicted[predicted == 3] = 0
    found = relaxed_scores(truth, predicted, videos, num_classes, 1.0, mode)
    undefined = []
    for video in range(5):
        true, guess = ((ids[videos == video] + 1).tolist() for ids in (truth, predicted))
        right = slow_forgiven(true, guess, first, 10, mode == "m2cai_matlab")
        assert found.accuracy[video] == pytest.approx(np.mean(right), abs=1e-12)
        for label in range(1, num_classes + 1):
            mine = [table[video, label - 1] for table in found[1:]]
            if label not in true:
                assert np.isnan(mine).all()
                continue
            expected = list(slow_scores(true, guess, right, label))
            undefined += np.flatnonzero(np.isnan(expected)).tolist()
            if mode == "symmetric":
                expected = [0.0 if np.isnan(each) else each for each in expected]
                expected[2] = slow_dice(true, guess, right, label)
            assert mine == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert undefined, "no undefined value was tested"


@pytest.mark.parametrize(
    ("mode", "late_s", "accuracy", "recall"),
    # Of the script the values were computed once by running it in Octave.
    [
        ("m2cai_matlab", -5, 0.975, 0.95),
        ("m2cai_matlab", 5, 1.0, 1.05),
        ("symmetric", -5, 1.0, 1.0),
        ("symmetric", 5, 1.0, 1.05),
    ],
)
def test_a_transition_five_seconds_off(mode: Mode, late_s: int, accuracy: float, recall: float) -> None:
    truth = np.repeat([0, 1], 100)
    predicted = np.repeat([0, 1], [100 + late_s, 100 - late_s])
    for rate in (1, 25):
        rows = np.repeat(truth, rate), np.repeat(predicted, rate)
        found = relaxed_scores(*rows, np.zeros(200 * rate, np.int64), 7, rate, mode)
        assert found.accuracy[0] == pytest.approx(accuracy, abs=1e-12)
        assert found.recall[0, 0] == pytest.approx(recall, abs=1e-12)
    # At 25 rows per second in name, 1 in fact, four minutes are forgiven.
    shifted = np.repeat([0, 1], [140, 60])
    videos = np.zeros(200, np.int64)
    assert relaxed_scores(truth, shifted, videos, 7, 25, mode).accuracy[0] == 1
    assert relaxed_scores(truth, shifted, videos, 7, 1, mode).accuracy[0] == pytest.approx(0.85)


def test_relaxed_never_falls_below_strict_and_forgives_nothing_far_from_transitions() -> None:
    truth, predicted, videos = procedures(3)
    strict = classify.accuracy(classify.count(truth, predicted, videos, 7))
    assert (relaxed_scores(truth, predicted, videos, 7, 1.0, "symmetric").accuracy >= strict).all()
    assert (relaxed_scores(truth, predicted, videos, 7, 0.01, "symmetric").accuracy == strict).all()
    truth = np.repeat([0, 1, 2], 40)
    right = forgive(truth, np.full(120, 1), 7, 10, "symmetric")
    assert np.flatnonzero(right).tolist() == list(range(30, 90))


def test_relaxed_scores_refuse() -> None:
    ids, videos = np.array([0, 1]), np.array([0, 0])
    with pytest.raises(DataError, match="7 phases of Cholec80 and the 8 of M2CAI16, not for 12 classes: use symmetric"):
        relaxed_scores(ids, ids, videos, 12, 1.0, "m2cai_matlab")
    with pytest.raises(DataError, match="must be symmetric or m2cai_matlab, got 'loose'"):
        relaxed_scores(ids, ids, videos, 7, 1.0, "loose")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="class ids must be from 0 to 6, got -1 to 1: drop rows without a label"):
        relaxed_scores(ids, ids - [0, 2], videos, 7, 1.0, "symmetric")
    with pytest.raises(DataError, match=r"rate_fps must be > 0, got 0\.0"):
        relaxed_scores(ids, ids, videos, 7, 0.0, "symmetric")
    with pytest.raises(DataError, match="give two ids per row"):
        relaxed_scores(ids, ids[:1], videos, 7, 1.0, "symmetric")


# ---- segments


def test_several_overlaps_at_once_equal_one_by_one() -> None:
    truth, predicted, _ = procedures(5)
    overlaps = [0.1, 0.25, 0.5]
    expected = [temporal.segment_counts(truth, predicted, each).tolist() for each in overlaps]
    assert temporal.segment_counts(truth, predicted, overlaps).tolist() == expected


def test_f1_at_overlaps_by_hand() -> None:
    # Three true segments of 10 frames are overlapped by 10, 4 and 2 of them; a fourth predicted one is wrong.
    truth = np.repeat([0, 1, 2], 10)
    predicted = np.concatenate([np.repeat([0, 1, 3], [10, 4, 6]), np.repeat([3, 2], [8, 2])])
    shares = {0.1: 3, 0.2: 3, 0.25: 2, 0.5: 1}
    for overlap, right in shares.items():
        assert temporal.segment_counts(truth, predicted, overlap).tolist() == [right, 4 - right, 3 - right]
        f1 = temporal.segment_f1(temporal.segment_counts(truth, predicted, overlap))
        precision, recall = right / 4, right / 3
        assert float(f1) == pytest.approx(2 * precision * recall / (precision + recall))
