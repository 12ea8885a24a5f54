"""Tasks: an ideal model scores 1, a random one chance, baselines are right, nothing depends on the order of rows."""

import csv
import os
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
from numpy.typing import NDArray

import surgvl.tasks
from surgvl.core.errors import DataError
from surgvl.core.ontology import CHOLEC80_PHASES, TRIPLET_NAMES
from surgvl.core.registry import discover
from surgvl.core.results import Result
from surgvl.metrics.answer import LabelledQuestion
from surgvl.metrics.relaxed import MODES, relaxed_scores
from surgvl.metrics.temporal import segment_counts
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import Inputs, LabelledScores, Scores, Task, Unavailable
from surgvl.tasks.boxes import LabelledBoxes
from surgvl.tasks.detection import Detection
from surgvl.tasks.multi_label import MultiLabel
from surgvl.tasks.numbers import LabelledNumbers
from surgvl.tasks.phase import Phase
from surgvl.tasks.retrieval import Retrieval
from surgvl.tasks.triplet import Triplet
from surgvl.tasks.video_class import VideoClass
from surgvl.tasks.vqa import Vqa

REAL = os.environ.get("SURGVL_REAL_DATA", "")
needs_labels = pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: real labels are not at hand")


RULES = ("", *(f"_relaxed_{mode}" for mode in ("m2cai_matlab", "symmetric")))


def by_metric(results: list[Result]) -> dict[str, Result]:
    found = {result.metric: result for result in results}
    assert len(found) == len(results)
    return found


def phases(num_videos: int = 4, seed: int = 0) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    """Seven phases in order, of uneven length; the last video lacks phase 5; some seconds have no label."""
    rng = np.random.default_rng(seed)
    truth, ids, times_s = [], [], []
    for video in range(num_videos):
        own = np.repeat(np.arange(7), rng.integers(5, 25, 7))
        if video == num_videos - 1:
            own = own[own != 5]
        own[rng.integers(0, len(own), 3)] = -1
        truth.append(own)
        ids += [f"video{video:02d}"] * len(own)
        times_s.append(np.arange(len(own)) + 0.5)
    return np.concatenate(truth), ids, np.concatenate(times_s)


def triplets(num_videos: int = 4, seed: int = 0) -> tuple[NDArray[np.uint8], list[str], NDArray[np.float64]]:
    """Runs of one or two triplets, a few of them null, and seconds in which nothing happens."""
    rng = np.random.default_rng(seed)
    num_rows = 150
    truth = np.zeros((num_videos * num_rows, 100), np.uint8)
    for row in range(0, len(truth), 10):
        truth[row : row + 8, rng.choice([3, 17, 58, 60, 79, 82, 94], rng.integers(1, 3), replace=False)] = 1
    ids = [f"VID{video:02d}" for video in range(num_videos) for _ in range(num_rows)]
    return truth, ids, np.tile(np.arange(num_rows) + 0.5, num_videos)


def ideal(truth: NDArray[np.integer], num_classes: int) -> NDArray[np.float64]:
    """Cosines of clips whose vectors are made from their labels, with class vectors of the same space."""
    space = np.linalg.qr(np.random.default_rng(0).normal(size=(128, num_classes)))[0].T
    if truth.ndim == 1:
        return np.asarray(space[truth] @ space.T)
    mixed = truth @ space + 1e-9
    return np.asarray((mixed / np.linalg.norm(mixed, axis=1, keepdims=True)) @ space.T)


def test_every_task_is_found_by_its_file_name() -> None:
    found = discover(surgvl.tasks, Task)  # type: ignore[type-abstract]
    assert {"phase", "retrieval", "triplet", "vqa"} <= set(found)
    for name, kind in found.items():
        shared = [each.__module__ for each in (MultiLabel, VideoClass, Detection) if issubclass(kind, each)]
        assert kind.__module__ in [f"surgvl.tasks.{name}", *shared]
        assert kind.version >= 1


class KindsAsked(Inputs):
    """Inputs that hold nothing and remember what was asked for."""

    def __init__(self) -> None:
        self.window_s, self.causal, self.relaxed, self.seed, self.by_text = 0.0, False, "", 0, True
        self.kinds: set[str] = set()

    def clips(self, kind: str) -> list[LabelledScores]:
        self.kinds.add(kind)
        raise Unavailable("nothing here")

    def numbers(self, kind: str) -> list[LabelledNumbers]:
        self.kinds.add(kind)
        return super().numbers(kind)

    def boxes(self, kind: str) -> list[LabelledBoxes]:
        self.kinds.add(kind)
        return super().boxes(kind)

    def answers(self) -> list[tuple[Answers, str]]:
        self.kinds.add("")
        raise Unavailable("nothing here")

    def training_questions(self) -> Counter[LabelledQuestion]:
        return Counter()


def test_a_task_asks_for_the_kind_that_it_states() -> None:
    for task in discover(surgvl.tasks, Task).values():  # type: ignore[type-abstract]
        inputs = KindsAsked()
        with pytest.raises(Unavailable):
            task.prepare(inputs)
        assert inputs.kinds == {task.kind}, task.name


# ---- phase


def test_an_ideal_model_gets_every_phase_right() -> None:
    truth, ids, times_s = phases()
    results = Phase(truth).score(Scores(ids, times_s, ideal(truth, 7), CHOLEC80_PHASES))
    for result in results:
        assert (result.value, result.low, result.high) == (1, 1, 1)
        assert result.num_videos == 4
        assert result.num_clips == (truth >= 0).sum()
        assert all(0 <= value < 0.9 for value in result.baselines.values())
    assert by_metric(results)["jaccard"].per_class == dict.fromkeys(CHOLEC80_PHASES, 1.0)


@pytest.mark.slow
def test_a_random_model_gets_phases_by_chance() -> None:
    truth, ids, times_s = phases(40)
    scores = np.random.default_rng(5).normal(size=(len(truth), 7))
    found = by_metric(Phase(truth).score(Scores(ids, times_s, scores, CHOLEC80_PHASES)))
    assert found["balanced_accuracy"].value == pytest.approx(1 / 7, abs=0.02)
    for metric in ("accuracy", "macro_f1", "jaccard"):
        assert found[metric].value == pytest.approx(found[metric].baselines["random"], abs=0.02)
        assert found[metric].low <= found[metric].baselines["random"] <= found[metric].high


def test_a_constant_model_equals_the_constant_baseline() -> None:
    truth, ids, times_s = phases()
    scores = np.zeros((len(truth), 7))
    scores[:, 3] = 1
    for result in Phase(truth, majority=3).score(Scores(ids, times_s, scores, CHOLEC80_PHASES)):
        assert result.value == pytest.approx(result.baselines["majority"], abs=1e-12)
    results = Phase(truth).score(Scores(ids, times_s, scores, CHOLEC80_PHASES))
    assert "majority (of test)" in results[0].baselines


@pytest.mark.slow
def test_phase_scores_do_not_depend_on_row_order_or_offset() -> None:
    truth, ids, times_s = phases()
    rng = np.random.default_rng(1)
    scores = ideal(truth, 7) + rng.normal(size=(len(truth), 7))
    expected = Phase(truth, window_s=4).score(Scores(ids, times_s, scores, CHOLEC80_PHASES))
    order = rng.permutation(len(truth))
    moved = Scores([ids[at] for at in order], times_s[order], scores[order] * 3 - 11, CHOLEC80_PHASES)
    for a, b in zip(Phase(truth[order], window_s=4).score(moved), expected, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)
        assert a.baselines == pytest.approx(b.baselines, abs=1e-12)


@pytest.mark.slow
def test_smoothing_helps_a_noisy_model_and_is_written_down() -> None:
    truth, ids, times_s = phases()
    scores = ideal(truth, 7) + np.random.default_rng(1).normal(size=(len(truth), 7))
    predictions = Scores(ids, times_s, scores, CHOLEC80_PHASES)
    plain, smooth = (by_metric(Phase(truth, window_s=w).score(predictions)) for w in (0.0, 9.0))
    causal = by_metric(Phase(truth, window_s=9.0, causal=True).score(predictions))
    assert smooth["accuracy"].value > causal["accuracy"].value > plain["accuracy"].value
    assert smooth["edit"].value > plain["edit"].value
    assert "no smoothing" in plain["edit"].protocol
    assert "centred mean over 9 s" in smooth["edit"].protocol
    assert "causal mean over 9 s" in causal["edit"].protocol


@pytest.mark.slow
def test_relaxed_scores_are_added_to_strict_ones_and_named() -> None:
    truth, ids, times_s = phases()
    late = np.concatenate([np.roll(truth[np.array(ids) == name], 3) for name in sorted(set(ids))])
    predictions = Scores(ids, times_s, ideal(np.maximum(late, 0), 7), CHOLEC80_PHASES)
    strict = by_metric(Phase(truth).score(predictions))
    assert all(", strict, " in result.protocol for result in strict.values())
    for mode in MODES:
        found = by_metric(Phase(truth, relaxed=mode).score(predictions))  # type: ignore[arg-type]
        assert [name for name in found if "relaxed" not in name] == list(strict)
        for metric in ("accuracy", "precision", "recall", "f1", "jaccard"):
            relaxed = found[f"{metric}_relaxed_{mode}"]
            assert strict[metric].value < relaxed.value <= 1
            assert f"boundaries relaxed by 10 s ({mode})" in relaxed.protocol
            assert "strict" not in relaxed.protocol
        # Rows without a label are dropped before boundaries are sought.
        kept = truth >= 0
        videos = np.unique(np.array(ids)[kept], return_inverse=True)[1]
        own = relaxed_scores(truth[kept], np.maximum(late, 0)[kept], videos, 7, 1.0, mode)  # type: ignore[arg-type]
        assert found[f"accuracy_relaxed_{mode}"].value == pytest.approx(own.accuracy.mean())
        expected = np.nanmean(np.nanmean(np.minimum(own.jaccard, 1), axis=0))
        assert found[f"jaccard_relaxed_{mode}"].value == pytest.approx(expected)


def test_f1_at_overlaps_is_of_counts_summed_over_videos() -> None:
    truth, ids, times_s = phases()
    rng = np.random.default_rng(4)
    noisy = np.where(rng.random(len(truth)) < 0.1, rng.integers(0, 7, len(truth)), np.maximum(truth, 0))
    found = by_metric(Phase(truth).score(Scores(ids, times_s, ideal(noisy, 7), CHOLEC80_PHASES)))
    names = np.array(ids)
    for overlap in (0.1, 0.25, 0.5):
        parts = [segment_counts(truth[names == name], noisy[names == name], overlap) for name in sorted(set(ids))]
        right, wrong, missed = np.sum(parts, axis=0)
        precision, recall = right / (right + wrong), right / (right + missed)
        expected = 2 * precision * recall / (precision + recall)
        assert found[f"segment_f1_{100 * overlap:.0f}"].value == pytest.approx(expected)


@cache
def labels_of_video(number: int) -> NDArray[np.int64]:
    with open(Path(REAL) / f"labels/cholec80_csv/video{number:02d}.csv", newline="") as file:
        assert next(file).strip() == "path,label"
        return np.array([int(label) - 1 for _, label in csv.reader(file)])


def cholec80_labels(numbers: Iterable[int]) -> list[NDArray[np.int64]]:
    return [labels_of_video(number) for number in numbers]


@pytest.mark.slow
@needs_labels
def test_how_much_relaxed_boundaries_add_on_cholec80() -> None:
    """Transitions up to 20 s off: the script forgives late ones alone, which lifts Jaccard more than accuracy."""
    rng = np.random.default_rng(0)
    parts = cholec80_labels(range(41, 81))
    guesses = []
    for labels in parts:
        guess = labels.copy()
        for at in np.flatnonzero(np.diff(labels)) + 1:
            late = int(rng.integers(-20, 21))
            guess[at : at + late] = labels[at - 1]
            guess[at + late : at] = labels[at]
        guesses.append(guess)
    truth, predicted = np.concatenate(parts), np.concatenate(guesses)
    ids = [f"video{number}" for number, labels in zip(range(41, 81), parts, strict=True) for _ in labels]
    times_s = np.concatenate([np.arange(len(labels)) + 0.5 for labels in parts])
    found: dict[str, Result] = {}
    for mode in MODES:
        task = Phase(truth, relaxed=mode)  # type: ignore[arg-type]
        found |= by_metric(task.score(Scores(ids, times_s, np.eye(7)[predicted], CHOLEC80_PHASES)))
    levels = [[found[f"{metric}{suffix}"].value for metric in ("accuracy", "jaccard")] for suffix in RULES]
    strict, script, symmetric = np.array(levels)
    assert (strict < script).all()
    assert (script < symmetric).all()
    assert script[1] - strict[1] > 3 * (script[0] - strict[0])
    assert 0.005 < script[0] - strict[0] < 0.02


@pytest.mark.slow
@needs_labels
def test_cholec80_chance_levels() -> None:
    training = np.concatenate(cholec80_labels(range(1, 41)))
    parts = cholec80_labels(range(41, 81))
    truth = np.concatenate(parts)
    ids = [f"video{number}" for number, labels in zip(range(41, 81), parts, strict=True) for _ in labels]
    times_s = np.concatenate([np.arange(len(labels)) + 0.5 for labels in parts])
    majority = int(np.bincount(training).argmax())
    assert CHOLEC80_PHASES[majority] == "CalotTriangleDissection"
    scores = np.random.default_rng(0).random((len(truth), 7), np.float32)
    found = by_metric(Phase(truth, majority).score(Scores(ids, times_s, scores, CHOLEC80_PHASES)))
    assert found["accuracy"].num_videos == 40
    assert found["accuracy"].baselines["majority"] == pytest.approx(0.3902, abs=5e-5)
    assert found["macro_f1_video"].baselines["majority"] == pytest.approx(0.0805, abs=5e-5)


def test_phase_refuses() -> None:
    truth, ids, times_s = phases()
    scores = Scores(ids, times_s, ideal(truth, 7), CHOLEC80_PHASES)
    with pytest.raises(DataError, match="score rows for truth of shape"):
        Phase(truth[1:]).score(scores)
    with pytest.raises(DataError, match="has a phase"):
        Phase(np.full(len(truth), -1)).score(scores)
    with pytest.raises(DataError, match="class ids"):
        Phase(truth + 1).score(scores)


# ---- triplet


@pytest.mark.slow
def test_an_ideal_model_gets_every_triplet_right() -> None:
    truth, ids, times_s = triplets()
    results = Triplet(truth).score(Scores(ids, times_s, truth.astype(np.float64), TRIPLET_NAMES))
    for result in results:
        assert (result.value, result.low, result.high) == pytest.approx((1, 1, 1))
        assert result.num_clips == 600
        assert result.per_class is not None
        assert set(result.per_class.values()) == {1.0}
    vectors = by_metric(Triplet(truth).score(Scores(ids, times_s, ideal(truth, 100), TRIPLET_NAMES)))
    # One vector for two triplets at once has a lower cosine with each than a vector for one alone: still no mistake.
    assert vectors["mAP_IVT"].value == pytest.approx(1)


@pytest.mark.slow
def test_random_and_constant_triplet_scores_equal_their_baselines() -> None:
    truth, ids, times_s = triplets(12)
    rng = np.random.default_rng(3)
    random = by_metric(Triplet(truth).score(Scores(ids, times_s, rng.normal(size=truth.shape), TRIPLET_NAMES)))
    for metric in random:
        assert random[metric].value == pytest.approx(random[metric].baselines["random"], abs=0.05)
    constant = Triplet(truth).score(Scores(ids, times_s, np.full(truth.shape, -2.0), TRIPLET_NAMES))
    for result in constant:
        assert result.value == pytest.approx(result.baselines["constant"], abs=1e-12)


@pytest.mark.slow
def test_triplet_and_retrieval_scores_do_not_depend_on_row_order_or_offset() -> None:
    truth, ids, times_s = triplets()
    rng = np.random.default_rng(1)
    scores = np.round(ideal(truth, 100) + rng.normal(size=truth.shape), 1)
    order = rng.permutation(len(truth))
    first = Scores(ids, times_s, scores, TRIPLET_NAMES)
    moved = Scores([ids[at] for at in order], times_s[order], scores[order] * 0.5 - 9, TRIPLET_NAMES)
    before = [*Triplet(truth).score(first), *Retrieval(truth).score(first)]
    after = [*Triplet(truth[order]).score(moved), *Retrieval(truth[order]).score(moved)]
    for a, b in zip(before, after, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)
        assert a.baselines == pytest.approx(b.baselines, abs=1e-12)


def real_triplets() -> tuple[NDArray[np.uint8], list[str], NDArray[np.float64]]:
    tables = {
        path.stem: np.loadtxt(path, np.int64, delimiter=",")
        for path in sorted((Path(REAL) / "labels/cholect45_layout/triplet").glob("*.txt"))
    }
    ids = [name for name, table in tables.items() for _ in table]
    rows = np.concatenate(list(tables.values()))
    return rows[:, 1:].astype(np.uint8), ids, rows[:, 0] + 0.5


@pytest.mark.slow
@needs_labels
def test_cholect50_chance_levels() -> None:
    truth, ids, times_s = real_triplets()
    assert len(truth) == 21251
    constant = Scores(ids, times_s, np.zeros(truth.shape, np.float32), TRIPLET_NAMES)
    found = by_metric(Triplet(truth).score(constant))
    for metric, percent in {
        "mAP_IVT": 3.08,
        "mAP_IVT_no_null": 3.12,
        "mAP_IVT_global": 2.13,
        "mAP_I": 24.27,
        "mAP_V": 15.24,
        "mAP_T": 10.28,
    }.items():
        assert 100 * found[metric].value == pytest.approx(percent, abs=0.005)
        assert found[metric].low < found[metric].value < found[metric].high
    assert 100 * found["mAP_IVT"].baselines["random"] == pytest.approx(3.57, abs=0.15)


def test_triplet_refuses() -> None:
    truth, ids, times_s = triplets()
    scores = Scores(ids, times_s, ideal(truth, 100), TRIPLET_NAMES)
    names = list(TRIPLET_NAMES)
    names[57:59] = names[58:56:-1]
    swapped = Scores(ids, times_s, ideal(truth, 100), names)
    with pytest.raises(DataError, match=r"'hook,dissect,cystic_duct' for 'hook,dissect,cystic_artery'"):
        Triplet(truth).score(swapped)
    with pytest.raises(DataError, match=r"of shape \(600, 100\)"):
        Triplet(truth[1:]).score(scores)
    with pytest.raises(DataError, match="must be 0 or 1"):
        Triplet(truth * 2).score(scores)
    with pytest.raises(DataError, match="has a triplet"):
        Triplet(truth * 0).score(scores)
    with pytest.raises(DataError, match="no triplet occurs"):
        Retrieval(truth * 0).score(scores)


# ---- retrieval


@pytest.mark.slow
def test_an_ideal_model_finds_every_triplet_first() -> None:
    truth, ids, times_s = triplets()
    found = by_metric(Retrieval(truth).score(Scores(ids, times_s, truth.astype(float), TRIPLET_NAMES)))
    for metric, result in found.items():
        assert result.value == pytest.approx(1), metric
        assert (result.low, result.high) == pytest.approx((1, 1))
    # Null triplets are not asked for: 94 is in the truth, six others are queries.
    assert "6 triplets as queries" in found["recall@1"].protocol


@pytest.mark.slow
def test_a_random_model_finds_by_chance() -> None:
    truth, ids, times_s = triplets(8)
    scores = np.random.default_rng(3).normal(size=truth.shape)
    found = by_metric(Retrieval(truth).score(Scores(ids, times_s, scores, TRIPLET_NAMES)))
    share = truth[:, [3, 17, 58, 60, 79, 82]].mean()
    assert found["recall@1_raw"].baselines["random"] == pytest.approx(share, abs=0.15)
    assert found["mAP_raw"].value == pytest.approx(share, abs=0.03)
    assert found["mAP_raw"].baselines["constant"] == pytest.approx(share, abs=0.06)


@pytest.mark.slow
def test_neighbours_of_a_wrong_moment_do_not_fill_the_page() -> None:
    truth, ids, times_s = triplets()
    scores = truth.astype(float)
    # Each wrong run is best, and raw clips of it fill the first five places; apart, it takes one or two.
    wrong = np.flatnonzero(~truth[:, :94].any(axis=1))[:2]
    for query in (3, 17, 58, 60, 79, 82):
        scores[wrong, query] = 2
    found = by_metric(Retrieval(truth).score(Scores(ids, times_s, scores, TRIPLET_NAMES)))
    assert found["median_rank"].value == 2
    assert found["recall@1"].value == 0
    assert found["recall@5"].value == 1
    wide = by_metric(Retrieval(truth, gap_s=30).score(Scores(ids, times_s, scores, TRIPLET_NAMES)))
    assert wide["recall@10"].value == 1
    assert wide["median_rank"].value == 2


# ---- vqa


def answers(num_videos: int = 4, right: float = 0.6, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    rows = []
    for video in range(num_videos):
        for _ in range(60):
            kind = str(rng.choice(["phase", "count"]))
            truth = str(rng.choice(["preparation", "closure"] if kind == "phase" else ["one", "two", "zero"]))
            guess = truth if rng.random() < right else "two"
            rows.append((f"v{video}", f"Which {kind}?", truth, kind, guess))
    ids, questions, truths, types, guesses = (list(column) for column in zip(*rows, strict=True))
    return Answers(ids, questions, truths, types, guesses, np.ones(len(rows), bool), "closed")


TRAINING = [LabelledQuestion("Which phase?", "closure", "phase")] * 3 + [
    LabelledQuestion("Which count?", "one", "count")
] * 2


def test_an_ideal_model_answers_everything() -> None:
    rows = answers(right=1.0)
    found = by_metric(Vqa(TRAINING).score(rows))
    assert found["unmatched_rate"].value == 0
    for metric in set(found) - {"unmatched_rate"}:
        assert (found[metric].value, found[metric].low) == (1, 1)
    assert found["accuracy"].per_class == {"phase": 1.0, "count": 1.0}
    assert set(found["accuracy"].baselines) == {"blind", "majority", "random"}


@pytest.mark.slow
def test_a_model_that_does_not_look_equals_the_blind_baseline() -> None:
    rows = answers()
    blind = ["closure" if kind == "phase" else "one" for kind in rows.types]
    unseeing = Answers(rows.video_ids, rows.questions, rows.answers, rows.types, blind, rows.matched, "closed")
    for result in Vqa(TRAINING).score(unseeing):
        if result.metric != "unmatched_rate":
            assert result.value == pytest.approx(result.baselines["blind"], abs=1e-12)
    found = by_metric(Vqa(TRAINING).score(rows))
    assert found["accuracy"].baselines["majority"] < found["accuracy"].baselines["blind"]
    assert found["macro_f1_sklearn13_zd1"].value >= found["macro_f1"].value - 1e-12
    assert "blind (of test)" in by_metric(Vqa().score(rows))["accuracy"].baselines


@pytest.mark.parametrize("zero_division", [0, 1])
def test_precision_recall_and_f1_of_answers_equal_sklearn(zero_division: int) -> None:
    rows = answers(right=0.6)
    # One answer is never true, one never given.
    said = ["no idea" if guess == rows.answers[0] else guess for guess in rows.predictions]
    matched = np.array([guess != "no idea" for guess in said])
    asked = Answers(rows.video_ids, rows.questions, rows.answers, rows.types, said, matched, "closed")
    found = by_metric(Vqa(TRAINING).score(asked))
    expected = sk.precision_recall_fscore_support(rows.answers, said, average="macro", zero_division=zero_division)
    for metric, value in zip(("precision", "recall"), expected[:2], strict=True):
        result = found[f"macro_{metric}_zd{zero_division}"]
        assert result.value == pytest.approx(value, abs=1e-12)
        assert f"counts as {zero_division}" in result.protocol
    assert found["macro_f1_zd0"].value == pytest.approx(expected[2], abs=1e-12)


def test_answers_do_not_depend_on_row_order() -> None:
    rows = answers()
    order = np.random.default_rng(0).permutation(len(rows.answers))
    columns = (rows.video_ids, rows.questions, rows.answers, rows.types, rows.predictions)
    ids, questions, truths, types, guesses = ([column[at] for at in order] for column in columns)
    moved = Answers(ids, questions, truths, types, guesses, rows.matched[order], "closed")
    for a, b in zip(Vqa(TRAINING).score(rows), Vqa(TRAINING).score(moved), strict=True):
        assert (a.value, a.low, a.high, a.baselines) == (b.value, b.low, b.high, b.baselines)


@pytest.mark.slow
def test_unmatched_answers_are_counted_and_open_ones_are_named() -> None:
    rows = answers(right=1.0)
    predictions = ["I cannot tell.", *rows.predictions[1:]]
    matched = np.ones(len(predictions), bool)
    matched[0] = False
    columns = (rows.video_ids, rows.questions, rows.answers, rows.types, predictions, matched)
    found = by_metric(Vqa(TRAINING).score(Answers(*columns, "closed")))
    assert found["unmatched_rate"].value == pytest.approx(1 / 240)
    assert found["accuracy"].value == pytest.approx(239 / 240)
    opened = by_metric(Vqa(TRAINING).score(Answers(*columns, "open")))
    assert opened["accuracy_open"].value == found["accuracy"].value


# ---- predictions


def test_scores_refuse() -> None:
    one = np.zeros(1)
    with pytest.raises(DataError, match="no predictions to score"):
        Scores([], np.zeros(0), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(DataError, match=r"scores must be \[1 clips, 2 classes\] .*, got \[1, 3\]"):
        Scores(["v"], one, np.zeros((1, 3)), ["a", "b"])
    with pytest.raises(DataError, match="class names must be unique"):
        Scores(["v"], one, np.zeros((1, 2)), ["a", "a"])
    with pytest.raises(DataError, match="must be finite"):
        Scores(["v"], one, np.full((1, 2), np.nan), ["a", "b"])
    with pytest.raises(DataError, match=r"two predictions for v at 0\.5 s"):
        Scores(["v", "w", "v"], np.array([0.5, 0.5, 0.5]), np.zeros((3, 2)), ["a", "b"])
    with pytest.raises(DataError, match="no answers to score"):
        Answers([], [], [], [], [], np.zeros(0, bool), "closed")
    with pytest.raises(DataError, match=r"the same length, got \[1, 1, 1, 1, 2, 1\]"):
        Answers(["v"], ["q"], ["a"], ["t"], ["p", "q"], np.ones(1, bool), "closed")
