"""Association of triplets with boxes: ivtmetrics without its faults, a plain loop, and frames counted by hand."""

import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.metrics.association import ASSOCIATIONS, association_counts, association_shares
from surgvl.metrics.detection import Boxes
from tests.metrics.test_detection import boxes, made, slow_iou

NAMES = list(ASSOCIATIONS)
# Theirs for ours.
SPELT = {"rfp": "fp", "rfn": "fn"}
HERE, NEAR, ELSEWHERE, FAR = [0.0, 0, 0.4, 0.4], [0.2, 0.2, 0.4, 0.4], [0.6, 0.6, 0.4, 0.4], [0.0, 0.6, 0.3, 0.3]


@cache
def peers() -> dict[str, Any]:
    """The benchmark's script, which mends ivtmetrics; it takes a second to load."""
    return runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "metrics_peers.py"))


def theirs(truth: Boxes, predicted: Boxes, mended: bool) -> Any:
    kind = peers()["Mended"] if mended else peers()["ivtmetrics"].Detection
    metric = kind(num_class=6, num_tool=6)
    for video in np.unique(truth.videos):
        for frame in np.unique([*truth.frames[truth.videos == video], *predicted.frames[predicted.videos == video]]):
            rows = [
                [
                    [float(each.classes[at]), float(each.classes[at]), float(each.scores[at]), *each.xywh[at].tolist()]
                    for at in np.flatnonzero(each.frames == frame)
                ]
                for each in (truth, predicted)
            ]
            metric.update([rows[0]], [rows[1]])
        metric.video_end()
    return metric


def counts_of(metric: Any, video: int) -> dict[str, int]:
    return {name: metric.accumulator[video + 1][SPELT.get(name, name)] for name in NAMES}


def scene(seed: int) -> tuple[Boxes, Boxes]:
    """Frames of one to four triplets, each in a corner; predicted with moved boxes, and triplets of other corners."""
    rng = np.random.default_rng(seed)
    true, said = [], []
    for frame in range(120):
        num = rng.integers(1, 5)
        labels, corners = rng.permutation(6)[:num], rng.permutation(4)[:num]
        xywh = np.stack([corners % 2 * 0.5, corners // 2 * 0.5, *np.full((2, num), 0.4)], axis=1)
        true += [[frame, frame % 2, label, *box, 1] for label, box in zip(labels, xywh, strict=True)]
        told = labels if rng.random() < 0.5 else rng.permutation(labels if rng.random() < 0.5 else 6)[:num]
        moved = np.abs(xywh + rng.normal(0, 0.06, xywh.shape))
        kept = rng.random(num) < 0.9
        rows = zip(told[kept], moved[kept], rng.random(kept.sum()), strict=True)
        said += [[frame, frame % 2, label, *box, score] for label, box, score in rows]
    return boxes(true), boxes(said)


@pytest.mark.parametrize("seed", range(3))
def test_equals_ivtmetrics_without_its_faults(seed: int) -> None:
    truth, predicted = scene(seed)
    found = association_counts(truth, predicted)
    metric = theirs(truth, predicted, mended=True)
    for video in range(2):
        assert dict(zip(NAMES, found[video].tolist(), strict=True)) == counts_of(metric, video)
    assert found.sum(axis=0).min() > 0, "every outcome must occur, or the test shows little"
    published = metric.compute_video_AP("ivt")
    # Its last "video" is one that has not begun.
    shares = association_shares(found).mean(axis=0)
    for name, share in zip(NAMES, shares, strict=True):
        assert share == pytest.approx(published[SPELT.get(name, name)], abs=1e-12)


def slow(truth: Boxes, predicted: Boxes, overlap: float) -> dict[str, int]:
    """The seven counts frame by frame, outcome by outcome, box by box."""
    found = dict.fromkeys(NAMES, 0)
    for frame in {*truth.frames.tolist(), *predicted.frames.tolist()}:
        free = [at for at in range(len(truth.frames)) if truth.frames[at] == frame]
        left = [at for at in range(len(predicted.frames)) if predicted.frames[at] == frame]
        left.sort(key=lambda at: -predicted.scores[at])
        for name in NAMES[:5]:
            for at in list(left):
                share = {each: slow_iou(predicted.xywh[at], truth.xywh[each]) for each in free}
                own = [each for each in free if truth.classes[each] == predicted.classes[at]]
                on = [each for each in free if share[each] >= overlap]
                fits = {
                    "lm": [each for each in own if each in on],
                    "plm": [each for each in own if share[each] > 0],
                    "ids": own if on else [],
                    "idm": on,
                    "mil": own,
                }[name]
                if fits:
                    found[name] += 1
                    left.remove(at)
                    if name != "idm":
                        free.remove(max(fits, key=lambda each: (share[each], -each)))
        found["rfp"] += len(left)
        found["rfn"] += len(free)
    return found


@pytest.mark.parametrize(("most", "decimals", "overlap"), [(1, 6, 0.5), (3, 6, 0.5), (3, 1, 0.3)])
def test_equals_a_plain_loop(most: int, decimals: int, overlap: float) -> None:
    truth, predicted = made(most, most, decimals=decimals)
    found = association_counts(truth, predicted, overlap).sum(axis=0)
    assert dict(zip(NAMES, found.tolist(), strict=True)) == slow(truth, predicted, overlap)


@pytest.mark.parametrize(
    ("true", "said", "expected"),
    [
        ([(0, HERE)], [(0, HERE)], {"lm": 1}),
        ([(0, HERE)], [(0, NEAR)], {"plm": 1}),
        ([(0, HERE), (1, ELSEWHERE)], [(1, HERE), (0, ELSEWHERE)], {"ids": 1, "mil": 1}),
        ([(0, HERE)], [(1, HERE)], {"idm": 1, "rfn": 1}),
        ([(0, HERE)], [(0, FAR)], {"mil": 1}),
        ([(0, HERE)], [(1, FAR)], {"rfp": 1, "rfn": 1}),
        ([(0, HERE)], [], {"rfn": 1}),
        ([(0, HERE)], [(0, HERE), (0, HERE)], {"lm": 1, "rfp": 1}),
    ],
)
def test_outcomes_by_hand(true: list[Any], said: list[Any], expected: dict[str, int]) -> None:
    first, second = (
        boxes([[0, 0, label, *xywh, 1 - at / 10] for at, (label, xywh) in enumerate(each)]) for each in (true, said)
    )
    found = association_counts(first, second)[0]
    assert dict(zip(NAMES, found.tolist(), strict=True)) == dict.fromkeys(NAMES, 0) | expected


def test_a_misplaced_box_of_the_only_triplet_of_a_frame_is_in_another_count_of_ivtmetrics() -> None:
    truth, predicted = boxes([[0, 0, 0, *HERE, 1]]), boxes([[0, 0, 0, *FAR, 0.9]])
    faulty = counts_of(theirs(truth, predicted, mended=False), 0)
    assert faulty == dict.fromkeys(NAMES, 0) | {"rfp": 1, "rfn": 1}
    assert counts_of(theirs(truth, predicted, mended=True), 0) == dict.fromkeys(NAMES, 0) | {"mil": 1}


def test_nothing_and_a_frame_in_two_videos() -> None:
    assert association_counts(boxes([]), boxes([])).shape == (0, 7)
    assert np.isnan(association_shares(np.zeros((2, 7)))).all()
    with pytest.raises(DataError, match="a frame of boxes is in two videos"):
        association_counts(boxes([[0, 0, 0, *HERE, 1]]), boxes([[0, 1, 0, *HERE, 1]]))
