"""Metrics against scikit-learn, ivtmetrics and slow second versions; ties, negatives, absent classes, nothing."""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import ivtmetrics
import numpy as np
import pytest
import sklearn.metrics as sk
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.ontology import TRIPLETS
from surgvl.metrics import answer, average_precision, classify, retrieval, temporal, triplet

# (truth, prediction, macro-F1 of scikit-learn 1.3.2 with zero_division=1, computed there once)
ZERO_DIVISION_1 = [
    ([2, 1, 1, 0, 0, 0], [2, 2, 0, 2, 2, 0], 0.26666666666666666),
    ([2, 3, 4, 5, 0, 0, 4, 5, 1, 1, 5, 2], [5, 1, 3, 5, 0, 4, 0, 1, 2, 2, 5, 5], 0.8452380952380952),
    (
        [10, 3, 1, 3, 4, 9, 5, 1, 4, 7, 9, 8, 11, 2, 10, 0, 6, 3, 2, 7, 3, 6, 3, 1, 8, 5, 8, 8, 11, 5],
        [7, 4, 9, 6, 4, 2, 3, 1, 6, 0, 6, 8, 6, 2, 10, 0, 3, 10, 5, 4, 8, 11, 9, 7, 1, 9, 9, 4, 4, 2],
        0.7154761904761905,
    ),
]


def random_labels(seed: int, num_rows: int = 300, num_classes: int = 6, num_videos: int = 4) -> list[NDArray[np.int64]]:
    """Truth, prediction and video of each row; the last two classes are rare, and absent from some videos."""
    rng = np.random.default_rng(seed)
    share = np.array([5, 4, 3, 2, 0.15, 0.05][:num_classes])
    truth = rng.choice(num_classes, num_rows, p=share / share.sum())
    predicted = np.where(rng.random(num_rows) < 0.5, truth, rng.integers(0, num_classes, num_rows))
    videos = np.concatenate([np.arange(num_videos), rng.integers(0, num_videos, num_rows - num_videos)])
    return [truth, predicted, videos]


# ---- classify


@pytest.mark.parametrize("seed", range(5))
def test_classify_equals_sklearn(seed: int) -> None:
    truth, predicted, videos = random_labels(seed)
    counts = classify.count(truth, predicted, videos, 6)
    assert counts.hits.shape == (4, 6)
    pooled = counts.pooled()
    present = np.unique(truth)
    assert classify.accuracy(pooled)[0] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-12)
    for absent, labels in (("truth", present), ("all", np.arange(6)), ("union", None)):
        expected = sk.f1_score(truth, predicted, average="macro", labels=labels, zero_division=0)
        assert classify.macro_f1(pooled, absent)[0] == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]
    weighted = sk.f1_score(truth, predicted, average="weighted", zero_division=0)
    assert classify.weighted_f1(pooled)[0] == pytest.approx(weighted, abs=1e-12)
    recall = sk.recall_score(truth, predicted, average=None, labels=present, zero_division=0)
    assert classify.balanced_accuracy(pooled)[0] == pytest.approx(recall.mean(), abs=1e-12)
    for video in range(4):
        rows = videos == video
        expected = sk.f1_score(truth[rows], predicted[rows], average="macro", zero_division=0)
        assert classify.macro_f1(counts, "union")[video] == pytest.approx(expected, abs=1e-12)
        jaccard = sk.jaccard_score(truth[rows], predicted[rows], average=None, labels=range(6), zero_division=0)
        expected_jaccard = np.where(np.isin(range(6), truth[rows]), jaccard, np.nan)
        np.testing.assert_allclose(classify.jaccard(counts)[video], expected_jaccard, atol=1e-12)


@pytest.mark.parametrize(("truth", "predicted", "expected"), ZERO_DIVISION_1)
def test_compat_equals_sklearn_1_3(truth: list[int], predicted: list[int], expected: float) -> None:
    counts = classify.count(truth, predicted, [0] * len(truth), 12)
    assert classify.macro_f1(counts, "union", compat="sklearn13_zd1")[0] == pytest.approx(expected, abs=1e-12)
    plain = sk.f1_score(truth, predicted, average="macro", zero_division=0)
    assert classify.macro_f1(counts, "union")[0] == pytest.approx(plain, abs=1e-12)


def test_the_four_ways_to_count_an_absent_class_differ() -> None:
    # Class 2 is predicted once and never true; class 3 is nowhere; class 1 is predicted, never rightly.
    counts = classify.count([0, 0, 0, 1], [0, 0, 2, 0], [0] * 4, 4)
    f1_of_0 = 2 * 2 / (3 + 3)
    assert classify.macro_f1(counts, "truth")[0] == pytest.approx(f1_of_0 / 2)
    assert classify.macro_f1(counts, "union")[0] == pytest.approx(f1_of_0 / 3)
    assert classify.macro_f1(counts, "all")[0] == pytest.approx(f1_of_0 / 4)
    with pytest.raises(DataError, match="must be truth, union or all, got 'some'"):
        classify.macro_f1(counts, "some")  # type: ignore[arg-type]


def test_rows_without_truth_are_left_out_and_answers_of_no_class_are_wrong() -> None:
    counts = classify.count([-1, 0, 0, 1], [0, 0, -1, 1], [0, 0, 1, 1], 2)
    assert classify.accuracy(counts).tolist() == [1.0, 0.5]
    assert counts.predicted.tolist() == [[1, 0], [0, 1]]


def test_counts_weighted_by_videos_equal_repeated_rows() -> None:
    truth, predicted, videos = random_labels(9)
    weights = np.array([[2, 0, 1, 1], [0, 4, 0, 0]])
    pooled = classify.count(truth, predicted, videos, 6).pooled(weights)
    for row, weight in enumerate(weights):
        again = np.repeat(np.arange(len(truth)), weight[videos])
        expected = sk.f1_score(truth[again], predicted[again], average="macro", zero_division=0)
        assert classify.macro_f1(pooled, "union")[row] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "predicted", "videos", "message"),
    [
        ([0, 1], [0], [0, 0], "two integer arrays of equal length"),
        ([0.0, 1.0], [0, 1], [0, 0], "two integer arrays"),
        ([0, 2], [0, 1], [0, 0], "class ids must be from -1 to 1, got 0 to 2"),
        ([0, -2], [0, 1], [0, 0], "got -2 to 0"),
        ([0, 1], [0, 1], [0], "one number from 0 per row"),
        ([-1, -1], [0, 1], [0, 0], "none of 2 rows is labelled"),
        (np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), "none of 0 rows"),
    ],
)
def test_count_refuses(truth: Any, predicted: Any, videos: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        classify.count(truth, predicted, videos, 2)


# ---- average precision


def multi_label(seed: int, num_rows: int = 200, levels: int = 0, dense: bool = False) -> list[Any]:
    """Truth [N, 100], scores with negatives (and ties when `levels`), videos of 3."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((num_rows, 100)) < (0.3 if dense else 0.03)).astype(np.uint8)
    scores = rng.normal(size=truth.shape)
    if levels:
        scores = np.round(scores * levels) / levels
    videos = np.arange(num_rows) % 3
    if dense:
        truth[:3] = 1
    return [truth, scores, videos]


def few_classes(seed: int, levels: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """24 of the classes: scikit-learn takes milliseconds for each."""
    truth, scores, videos = multi_label(seed, levels=levels)
    return truth[:, :24], scores[:, :24], videos


def oracle(truth: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.float64]:
    """scikit-learn for each class that occurs."""
    values = [
        sk.average_precision_score(truth[:, k], scores[:, k]) if truth[:, k].any() else np.nan
        for k in range(truth.shape[1])
    ]
    return np.array(values)


@pytest.mark.parametrize("levels", [0, 1, 4])
@pytest.mark.slow
def test_average_precision_equals_sklearn(levels: int) -> None:
    truth, scores, videos = few_classes(levels, levels)
    truth[:, 7] = 0
    truth[:, 8] = 1
    # The same numbers in both.
    single = scores.astype(np.float32)
    whole = oracle(truth, single)
    parts = [oracle(truth[videos == video], single[videos == video]) for video in range(3)]
    for given in (single, single.astype(np.float64)):
        np.testing.assert_allclose(average_precision.average_precision(truth, given), whole, atol=1e-12)
        table = average_precision.video_average_precision(truth, given, videos)
        np.testing.assert_allclose(table, parts, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [0, 1])
def test_weighted_average_precision_equals_repeated_rows(levels: int) -> None:
    truth, scores, videos = few_classes(3, levels)
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 0, 3]])
    found = average_precision.weighted_average_precision(truth, scores, videos, weights)
    for row, weight in enumerate(weights):
        again = np.repeat(np.arange(len(truth)), weight[videos])
        np.testing.assert_allclose(found[row], oracle(truth[again], scores[again]), atol=1e-12)


def test_only_the_order_within_a_class_matters() -> None:
    truth, scores, videos = multi_label(5, levels=2)
    expected = average_precision.video_average_precision(truth, scores, videos)
    moved = average_precision.video_average_precision(truth, 0.25 * scores - 7, videos)
    np.testing.assert_array_equal(moved, expected)
    order = np.random.default_rng(0).permutation(len(truth))
    again = average_precision.video_average_precision(truth[order], scores[order], videos[order])
    np.testing.assert_allclose(again, expected, atol=1e-12)


def test_a_constant_score_gets_the_share_of_positives() -> None:
    truth, scores, _ = multi_label(6)
    found = average_precision.average_precision(truth, np.full_like(scores, -3.0))
    share = truth.mean(axis=0)
    np.testing.assert_allclose(found, np.where(share > 0, share, np.nan), atol=1e-12)


def test_average_precision_refuses() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(DataError, match=r"truth \(2, 3\) and scores \(2, 2\)"):
        average_precision.average_precision(ones, ones[:, :2])
    with pytest.raises(DataError, match="N > 0"):
        average_precision.average_precision(ones[:0], ones[:0])
    with pytest.raises(DataError, match="must be finite, got nan in row 1, class 2"):
        average_precision.average_precision(ones, np.where(np.arange(6).reshape(2, 3) == 5, np.nan, 0.0))
    with pytest.raises(DataError, match="must be 0 or 1"):
        average_precision.average_precision(2 * ones, ones)
    with pytest.raises(DataError, match="video number 1 has no rows"):
        average_precision.video_average_precision(ones, ones, [0, 2])
    with pytest.raises(DataError, match="one integer per row"):
        average_precision.video_average_precision(ones, ones, [0.0, 1.0])


# ---- triplet


def test_component_sizes_and_names() -> None:
    assert [len(triplet.CHOLECT50.names(c)) for c in triplet.COMPONENTS] == [6, 10, 15, 26, 59, 100]
    assert triplet.CHOLECT50.names("iv")[0] == "grasper,grasp"
    assert triplet.CHOLECT50.names("ivt")[58] == "hook,dissect,cystic_duct"
    with pytest.raises(DataError, match="must be one of i, v, t, iv, it, ivt, got 'vt'"):
        triplet.CHOLECT50.names("vt")
    with pytest.raises(DataError, match=r"\[N, 100\]"):
        triplet.decompose(np.zeros((2, 6)), "i")


@pytest.mark.parametrize("component", triplet.COMPONENTS)
def test_components_are_maxima_over_their_triplets(component: str) -> None:
    values = np.random.default_rng(0).normal(size=(20, 100))
    found = triplet.decompose(values, component)
    for at, name in enumerate(triplet.CHOLECT50.names(component)):
        parts = ["ivt".index(letter) for letter in component]
        own = [k for k, row in enumerate(TRIPLETS) if ",".join(row[part] for part in parts) == name]
        np.testing.assert_array_equal(found[:, at], values[:, own].max(axis=1))


@cache
def recognition() -> tuple[list[Any], Any]:
    """Labels, scores and two videos, the first with ties and the other without, and ivtmetrics that has seen them."""
    # ivtmetrics 0.1.5 with scikit-learn from 1.6.1 takes absent classes for AP 0: so none is absent here.
    truth, scores, videos = multi_label(8, dense=True)
    # One is twice as long as the other.
    videos %= 2
    scores[videos == 0] = np.round(scores[videos == 0] * 3) / 3
    with np.errstate(all="warn"):  # it sets NumPy's error state for good
        theirs = ivtmetrics.Recognition(num_class=100)
        for video in range(2):
            theirs.update(truth[videos == video], scores[videos == video])
            theirs.video_end()
    return [truth, scores, videos], theirs


@pytest.mark.parametrize("component", triplet.COMPONENTS)
@pytest.mark.slow
def test_equals_ivtmetrics_where_every_class_is_in_every_video(component: str) -> None:
    (truth, scores, videos), theirs = recognition()
    with np.errstate(all="warn"):
        expected = theirs.compute_video_AP(component)["mAP"]
        expected_global = theirs.compute_global_AP(component)["mAP"]
    found = triplet.video_map(truth, scores, videos, component, ignore_null=False)
    assert found == pytest.approx(expected, abs=1e-12)
    found = triplet.global_map(truth, scores, component, ignore_null=False)
    assert found == pytest.approx(expected_global, abs=1e-12)


@pytest.mark.slow
def test_equals_ivtmetrics_without_null_triplets() -> None:
    (truth, scores, videos), theirs = recognition()
    with np.errstate(all="warn"):
        expected = theirs.compute_video_AP("ivt", ignore_null=True)["mAP"]
    assert triplet.video_map(truth, scores, videos, "ivt", ignore_null=True) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("component", triplet.COMPONENTS)
def test_absent_classes_are_left_out_of_both_means(component: str) -> None:
    truth, scores, videos = multi_label(11, levels=3)
    truth[:, 40:] = 0
    labels, values = triplet.decompose(truth, component), triplet.decompose(scores, component)
    rows = [oracle(labels[videos == v], values[videos == v]) for v in range(3)]
    per_class = [np.mean([row[k] for row in rows if not np.isnan(row[k])] or [np.nan]) for k in range(labels.shape[1])]
    expected = np.mean([value for value in per_class if not np.isnan(value)])
    found = triplet.video_map(truth, scores, videos, component, ignore_null=False)
    assert found == pytest.approx(expected, abs=1e-12)


def test_ignore_null_is_for_whole_triplets() -> None:
    truth, scores, videos = multi_label(1)
    with pytest.raises(DataError, match="ivt alone, got"):
        triplet.video_map(truth, scores, videos, "i", ignore_null=True)
    table = triplet.video_table(truth, scores, videos, "ivt", ignore_null=True)
    assert table.shape == (3, 94)


# ---- retrieve


def slow_suppress(scores: Any, times_s: Any, videos: Any, gap_s: float) -> NDArray[np.bool_]:
    kept = np.zeros(scores.shape, bool)
    for q, row in enumerate(scores):
        chosen: list[int] = []
        for m in sorted(range(len(row)), key=lambda m: (-row[m], m)):
            if all(videos[m] != videos[c] or abs(times_s[m] - times_s[c]) >= gap_s for c in chosen):
                chosen.append(m)
        kept[q, chosen] = True
    return kept


def moments(seed: int, levels: int = 0) -> list[Any]:
    """Scores [5, 60], truth, videos of different length, times in order of video and time."""
    rng = np.random.default_rng(seed)
    videos = np.repeat([0, 1, 2], [30, 7, 23])
    times_s = np.concatenate([np.arange(30), np.sort(rng.uniform(0, 12, 7)), np.arange(23)]) + 0.5
    scores = rng.normal(size=(5, 60)) - 3
    if levels:
        scores = np.round(scores * levels) / levels
    right = rng.random((5, 60)) < 0.06
    right[:, 20] = True
    right[4, :] = False
    right[4, 33] = True
    return [scores, right, videos, times_s]


@pytest.mark.parametrize("gap_s", [0.0, 1.0, 2.0, 3.7])
@pytest.mark.parametrize("levels", [0, 1])
def test_suppression_equals_going_down_the_list(gap_s: float, levels: int) -> None:
    scores, _, videos, times_s = moments(2, levels)
    expected = slow_suppress(scores, times_s, videos, gap_s)
    np.testing.assert_array_equal(retrieval.temporal_nms(scores, times_s, videos, gap_s), expected)
    constant = np.zeros_like(scores)
    expected = slow_suppress(constant, times_s, videos, gap_s)
    np.testing.assert_array_equal(retrieval.temporal_nms(constant, times_s, videos, gap_s), expected)


@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("apart", [False, True])
def test_ranks_equal_a_search_in_the_drawn_videos(levels: int, apart: bool) -> None:
    scores, right, videos, times_s = moments(4, levels)
    kept = slow_suppress(scores, times_s, videos, 2.0) if apart else np.ones(scores.shape, bool)
    hits = retrieval.first_hits(retrieval.ranking(scores), right, videos, kept if apart else None)
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [0, 0, 3], [1, 2, 0]])
    found = hits.ranks(weights)
    for row, q in itertools.product(range(len(weights)), range(len(scores))):
        times_drawn = weights[row][videos] * kept[q]
        # Copies of a moment stand side by side: the first one of a right moment counts.
        order = sorted(range(60), key=lambda m, q=q: (-scores[q, m], m))  # type: ignore[misc]
        ahead, expected = 0, np.nan
        for m in order:
            if times_drawn[m] and right[q, m]:
                expected = 1 + ahead
                break
            ahead += times_drawn[m]
        if np.isnan(expected) and (weights[row][videos] * right[q]).any():
            expected = 1 + times_drawn.sum()
        np.testing.assert_equal(found[row, q], expected)


def test_recall_and_median_rank() -> None:
    ranks = np.array([[1.0, 3.0, 7.0, np.nan], [np.nan] * 4])
    assert retrieval.recall_at(ranks, 1).tolist() == [pytest.approx(1 / 3), pytest.approx(np.nan, nan_ok=True)]
    assert retrieval.recall_at(ranks, 5)[0] == pytest.approx(2 / 3)
    assert retrieval.median_rank(ranks)[0] == 3
    assert np.isnan(retrieval.median_rank(ranks)[1])


def test_negative_scores_are_like_any_other() -> None:
    # torchmetrics 1.9.0 gives recall 0 here, because it drops right moments with scores of 0 or less.
    hits = retrieval.first_hits(retrieval.ranking([[-0.1, -0.2, -0.9]]), [[True, False, False]], [0, 0, 0])
    assert retrieval.recall_at(hits.ranks(), 1).tolist() == [1.0]


def test_ties_go_to_the_lower_id() -> None:
    assert retrieval.ranking([[0.0, 1.0, 1.0, 0.0]]).tolist() == [[1, 2, 0, 3]]


def test_retrieval_map_equals_sklearn_on_the_ranking() -> None:
    scores, right, videos, _ = moments(6, levels=1)
    order = retrieval.ranking(scores)
    place = np.argsort(order, axis=1)
    expected = np.mean([sk.average_precision_score(right[q], -place[q]) for q in range(5)])
    assert retrieval.mean_average_precision(order, right, videos)[0] == pytest.approx(expected, abs=1e-12)
    weights = [[2, 1, 0]]
    again = np.repeat(np.arange(60), np.array(weights[0])[videos])
    expected = np.mean(
        [sk.average_precision_score(right[q][again], -place[q][again]) for q in range(5) if right[q][again].any()]
    )
    assert retrieval.mean_average_precision(order, right, videos, weights)[0] == pytest.approx(expected, abs=1e-12)


def test_retrieval_refuses() -> None:
    with pytest.raises(DataError, match="finite"):
        retrieval.ranking([[np.nan, 1.0]])
    with pytest.raises(DataError, match="three arrays of equal shape"):
        retrieval.first_hits(retrieval.ranking([[1.0, 2.0]]), [[True]], [0, 0])


# ---- answer


def test_normalise() -> None:
    assert answer.normalise(" Cystic_Duct.  ") == "cystic duct"
    assert answer.normalise("Top-Left") == "top-left"


def test_encode_numbers_answers_like_sklearn() -> None:
    truth, predicted = ["hook", "Grasper", "hook"], ["hook", "hook", "none of these"]
    coded = answer.encode(truth, predicted)
    assert coded.classes == ["grasper", "hook", "none of these"]
    assert coded.truth.tolist() == [1, 0, 1]
    assert coded.predicted.tolist() == [1, 1, 2]
    with pytest.raises(DataError, match="0 true"):
        answer.encode([], [])


def test_blind_answers_know_the_question_then_the_type_then_all() -> None:
    training = [
        answer.LabelledQuestion("Which phase?", "a", "phase"),
        answer.LabelledQuestion("which phase?", "b", "phase"),
        answer.LabelledQuestion("Which phase?", "b", "phase"),
        answer.LabelledQuestion("Which next phase?", "c", "phase"),
        answer.LabelledQuestion("Which next phase?", "d", "phase"),
        answer.LabelledQuestion("How many?", "two", "count"),
    ]
    questions = ["WHICH phase?", "Which next phase?", "Which last phase?", "Where?"]
    found = answer.blind_answers(training, questions, ["phase", "phase", "phase", "place"])
    assert [each.answer for each in found] == ["b", "c", "b", "b"]
    assert [each.share for each in found] == pytest.approx([2 / 3, 1 / 2, 2 / 5, 2 / 6])
    with pytest.raises(DataError, match="no answers to count"):
        answer.blind_answers([], ["Where?"], ["place"])


# ---- temporal


def slow_edit(a: Sequence[int], b: Sequence[int]) -> float:
    table = np.zeros((len(a) + 1, len(b) + 1))
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    return float(1 - table[-1, -1] / max(len(a), len(b)))


def slow_segments(labels: Sequence[int]) -> list[tuple[int, int, int]]:
    found, at = [], 0
    for label, run in itertools.groupby(labels):
        length = len(list(run))
        found.append((label, at, at + length))
        at += length
    return found


def slow_segment_counts(truth: Sequence[int], predicted: Sequence[int], overlap: float) -> list[int]:
    true, taken, wrong = slow_segments(truth), set(), 0
    for label, start, end in slow_segments(predicted):
        shares = []
        for other, other_start, other_end in true:
            both = max(0, min(end, other_end) - max(start, other_start))
            shares.append(both / (max(end, other_end) - min(start, other_start)) * (label == other))
        best = int(np.argmax(shares))
        if shares[best] >= overlap and best not in taken:
            taken.add(best)
        else:
            wrong += 1
    return [len(taken), wrong, len(true) - len(taken)]


@pytest.mark.parametrize("seed", range(6))
def test_segments_equal_slow_versions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, 4, 12), rng.integers(1, 9, 12))
    predicted = np.where(rng.random(len(truth)) < 0.1 * seed, rng.integers(0, 4, len(truth)), truth)
    a, b = ([label for label, _, _ in slow_segments(labels.tolist())] for labels in (truth, predicted))
    assert temporal.edit_score(truth, predicted) == pytest.approx(slow_edit(a, b), abs=1e-12)
    for overlap in (0.1, 0.25, 0.5, 0.75):
        expected = slow_segment_counts(truth.tolist(), predicted.tolist(), overlap)
        assert temporal.segment_counts(truth, predicted, overlap).tolist() == expected


def test_segment_scores_by_hand() -> None:
    assert temporal.edit_score([0, 0, 1, 1], [0, 0, 1, 1]) == 1
    assert temporal.edit_score([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(0.5)
    assert temporal.edit_score([0, 0, 1, 1], [2, 2, 2, 2]) == 0
    assert temporal.edit_score([-1, 0, 1, -1], [3, 0, 1, 3]) == 1
    assert temporal.segment_f1(temporal.segment_counts([0, 0, 1, 1], [0, 0, 1, 1], 0.5)) == 1
    assert temporal.segment_f1([[1, 1, 1], [0, 0, 0]])[0] == pytest.approx(0.5)
    assert np.isnan(temporal.segment_f1([0, 0, 0]))
    assert [part.tolist() for part in temporal.segments([])] == [[], [], []]
    with pytest.raises(DataError, match="no frame is labelled"):
        temporal.edit_score([-1], [0])
    with pytest.raises(DataError, match="two sequences of equal length"):
        temporal.edit_score([0], [0, 1])


@pytest.mark.parametrize("causal", [False, True])
def test_smoothing_equals_a_slow_mean_and_stays_within_videos(causal: bool) -> None:
    rng = np.random.default_rng(0)
    videos = np.repeat([0, 1], [20, 15])
    times_s = np.concatenate([np.delete(np.arange(23), [4, 5, 11]), np.arange(15)]) + 0.5
    scores = rng.normal(size=(35, 3))
    order = rng.permutation(35)
    found = temporal.smooth(scores[order], times_s[order], videos[order], 5.0, causal)
    for row, at in enumerate(order):
        away = times_s - times_s[at]
        near = (away > -5 + 1e-9) & (away <= 0) if causal else np.abs(away) <= 2.5
        np.testing.assert_allclose(found[row], scores[near & (videos == videos[at])].mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(temporal.smooth(scores, times_s, videos, 0.0, causal), scores)
    with pytest.raises(DataError, match=r"must be >= 0 s, got -1\.0"):
        temporal.smooth(scores, times_s, videos, -1.0, causal)
