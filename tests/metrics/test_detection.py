"""Boxes against ivtmetrics where it is right and plain loops; ties, absent classes, nothing."""

from typing import Any

import ivtmetrics
import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.metrics import detection
from surgvl.metrics.detection import Boxes, RankedBy, detection_average_precision


def boxes(rows: list[list[float]]) -> Boxes:
    """Rows of frame, video, class, x, y, w, h, score."""
    table = np.array(rows, np.float64).reshape(-1, 8)
    frames, videos, classes = table[:, :3].T.astype(np.int64)
    return Boxes(frames, videos, classes, table[:, 3:7], table[:, 7])


def made(seed: int, most: int, num_frames: int = 60, num_classes: int = 4, decimals: int = 6) -> tuple[Boxes, Boxes]:
    """True and predicted boxes of two videos, at most so many of a class in a frame; class 3 is never true."""
    rng = np.random.default_rng(seed)
    true, guess = [], []
    for frame in range(num_frames):
        for label in range(num_classes):
            for _ in range(rng.integers(0, most + 1)):
                x, y, w, h = rng.uniform([0, 0, 0.2, 0.2], [0.5, 0.5, 0.5, 0.5])
                if label < 3:
                    true.append([frame, frame % 2, label, x, y, w, h, 1.0])
                if rng.random() < 0.8:
                    moved = rng.normal([x, y, w, h], 0.06)
                    guess.append([frame, frame % 2, label, *np.abs(moved), np.round(rng.random(), decimals)])
    return boxes(true), boxes(guess)


def slow_iou(a: Any, b: Any) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return 0.0 if w <= 0 or h <= 0 else w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def slow_ap(truth: Boxes, predicted: Boxes, video: int, label: int, overlap: float, ranked_by: RankedBy) -> float:
    """AP of one video and class by the book, box by box."""
    left = [at for at in range(len(truth.frames)) if truth.videos[at] == video and truth.classes[at] == label]
    num_true = len(left)
    own = [
        at for at in range(len(predicted.frames)) if predicted.videos[at] == video and predicted.classes[at] == label
    ]
    own.sort(key=lambda at: -predicted.scores[at])
    hit = {}
    for at in own:
        near = [
            (slow_iou(predicted.xywh[at], truth.xywh[t]), -t) for t in left if truth.frames[t] == predicted.frames[at]
        ]
        best, which = max(near, default=(0.0, 0))
        hit[at] = bool(near) and best >= overlap
        if hit[at]:
            left.remove(-which)
    if ranked_by == "frame":
        own.sort(key=lambda at: predicted.frames[at])
    points = []
    for at in range(1, len(own) + 1):
        right = sum(hit[each] for each in own[:at])
        points.append((right / num_true, right / at))
    return sum(max((p for r, p in points if r >= level / 10), default=0) for level in range(11)) / 11


@pytest.mark.slow
@pytest.mark.parametrize("ranked_by", ["score", "frame"])
@pytest.mark.parametrize(("most", "decimals"), [(1, 6), (3, 6), (3, 1)])
def test_average_precision_equals_a_slow_one(most: int, decimals: int, ranked_by: RankedBy) -> None:
    truth, predicted = made(most, most, decimals=decimals)
    for overlap in (0.5, 0.75):
        found = detection_average_precision(truth, predicted, 4, overlap, ranked_by)
        assert found.shape == (2, 4)
        assert np.isnan(found[:, 3]).all()
        for video in range(2):
            for label in range(3):
                expected = slow_ap(truth, predicted, video, label, overlap, ranked_by)
                assert found[video, label] == pytest.approx(expected, abs=1e-12)


def theirs(truth: Boxes, predicted: Boxes) -> Any:
    metric = ivtmetrics.Detection(num_class=4, num_tool=4)
    for video in range(2):
        for frame in sorted({*truth.frames[truth.videos == video], *predicted.frames[predicted.videos == video]}):
            rows = [
                [
                    [float(label), float(label), float(score), *map(float, xywh)]
                    for at, label, xywh, score in zip(each.frames, each.classes, each.xywh, each.scores, strict=True)
                    if at == frame
                ]
                for each in (truth, predicted)
            ]
            metric.update([rows[0]], [rows[1]])
        metric.video_end()
    return metric


@pytest.mark.parametrize("seed", range(3))
def test_equals_ivtmetrics_where_a_frame_has_one_box_of_a_class(seed: int) -> None:
    truth, predicted = made(seed, 1)
    with np.errstate(all="warn"):
        found = theirs(truth, predicted).compute_video_AP("ivt")["AP"]
        instruments = theirs(truth, predicted).compute_video_AP("i")["AP"]
    mine = detection_average_precision(truth, predicted, 4, ranked_by="frame").mean(axis=0)
    np.testing.assert_allclose(mine[:3], found[:3], atol=1e-12)
    np.testing.assert_allclose(mine[:3], instruments[:3], atol=1e-12)
    assert found[3] == 0, "a class that is never true, but predicted, counts 0 there"


def test_a_ranking_by_frame_depends_on_the_order_of_the_video_and_one_by_score_does_not() -> None:
    truth, predicted = made(5, 1)

    def backwards(each: Boxes) -> Boxes:
        return Boxes(1000 - each.frames, each.videos, each.classes, each.xywh, each.scores)

    for ranked_by, same in (("score", True), ("frame", False)):
        there = detection_average_precision(truth, predicted, 4, ranked_by=ranked_by)  # type: ignore[arg-type]
        back = detection_average_precision(backwards(truth), backwards(predicted), 4, ranked_by=ranked_by)  # type: ignore[arg-type]
        assert np.allclose(there[:, :3], back[:, :3]) is same


def test_overlap_equals_a_slow_one() -> None:
    a, b = np.random.default_rng(0).uniform(0, 1, (2, 30, 4))
    expected = [[slow_iou(one, other) for other in b] for one in a]
    np.testing.assert_allclose(detection.iou(a[:, None], b[None]), expected, atol=1e-12)
    assert detection.iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0
    assert detection.iou([0, 0, 2, 1], [1, 0, 2, 1]) == pytest.approx(1 / 3)


def test_perfect_and_empty_predictions() -> None:
    truth, _ = made(1, 2)
    assert np.nanmin(detection_average_precision(truth, truth, 4)) == 1
    assert np.nanmax(detection_average_precision(truth, boxes([]), 4)) == 0


def test_boxes_refuse() -> None:
    truth, predicted = made(1, 1)
    with pytest.raises(DataError, match="no true box to score"):
        detection_average_precision(boxes([]), predicted, 4)
    with pytest.raises(DataError, match="classes below 3"):
        detection_average_precision(truth, predicted, 3)
    with pytest.raises(DataError, match="ranked by one of score, frame, got 'luck'"):
        detection_average_precision(truth, predicted, 4, ranked_by="luck")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="box 0 has a negative size"):
        boxes([[0, 0, 0, 0, 0, -1, -1, 1]])
    with pytest.raises(DataError, match="must be finite"):
        boxes([[0, 0, 0, 0, 0, 1, np.nan, 1]])
    with pytest.raises(DataError, match="equal length"):
        Boxes(np.zeros(2, int), np.zeros(1, int), np.zeros(2, int), np.zeros((2, 4)), np.zeros(2))
    with pytest.raises(DataError, match=r"2 boxes need \[2, 4\]"):
        Boxes(np.zeros(2, int), np.zeros(2, int), np.zeros(2, int), np.zeros((2, 3)), np.zeros(2))
