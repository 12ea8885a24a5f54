"""Agreement of a judge with people: scikit-learn's kappa, shares counted one by one, and draws of questions by hand."""

import itertools
import json
import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from surgvl.core.results import draws, tail_percent
from surgvl.tasks.judge import Case
from surgvl.tasks.judge_agreement import Agreement, measure
from surgvl.tasks.marks.base import Marked, MarkedList

WORDS = np.array(["correct", "incorrect", ""])


def made(num_people: int, seed: int = 0) -> tuple[MarkedList, list[str]]:
    """90 answers to 30 questions; people leave some unmarked, the judge gives some no verdict."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 90)
    marks = np.where(rng.random((90, num_people)) < 0.15, 1 - truth[:, None], truth[:, None])
    marks[rng.random(marks.shape) < 0.1] = 2
    said = np.where(rng.random(90) < 0.25, 1 - truth, truth)
    said[rng.random(90) < 0.1] = 2
    rows = [
        Marked(Case(f"q{at % 30}", "a", str(at)), tuple(WORDS[row].tolist()), f"type {at % 2}")
        for at, row in enumerate(marks)
    ]
    return MarkedList("list", rows, f"{num_people} people", "made questions"), WORDS[said].tolist()


def kappa(pairs: list[tuple[str, str]]) -> float:
    return float(cohen_kappa_score(*zip(*pairs, strict=True)))


@pytest.mark.parametrize("num_people", [1, 2, 3])
def test_values_equal_counts_and_scikit_learn(num_people: int) -> None:
    marked, said = made(num_people)
    found = measure(marked, said)
    of_person = [
        [(row.marks[j], verdict) for row, verdict in zip(marked.rows, said, strict=True) if row.marks[j]]
        for j in range(num_people)
    ]
    every = [pair for pairs in of_person for pair in pairs]
    assert found.num_marks == len(every)
    assert found.num_questions == 30
    assert found.num_answers == sum(any(row.marks) for row in marked.rows)
    assert found.num_unsure == sum(not verdict for _, verdict in every)
    assert found.share.value == pytest.approx(np.mean([a == b for a, b in every]))
    assert found.kappa.value == pytest.approx(np.mean([kappa([p for p in pairs if p[1]]) for pairs in of_person]))
    for mark, score in found.by_mark.items():
        assert score.value == pytest.approx(np.mean([b == mark for a, b in every if a == mark]))
    assert found.constant == pytest.approx(max(sum(a == mark for a, _ in every) for mark in WORDS[:2]) / len(every))
    odd = [
        (mark, verdict)
        for at, (row, verdict) in enumerate(zip(marked.rows, said, strict=True))
        for mark in row.marks
        if mark and at % 2
    ]
    share_of_part, num_of_part = found.by_part["type 1"]
    assert share_of_part == pytest.approx(np.mean([a == b for a, b in odd]))
    assert num_of_part == len(odd)
    if num_people == 1:
        assert found.ceiling is None
        return
    pairs = [
        [(row.marks[a], row.marks[b]) for row in marked.rows if row.marks[a] and row.marks[b]]
        for a, b in itertools.combinations(range(num_people), 2)
    ]
    assert found.ceiling is not None
    share, between, num = found.ceiling
    assert num == sum(map(len, pairs))
    assert share.value == pytest.approx(np.mean([a == b for each in pairs for a, b in each]))
    assert between.value == pytest.approx(np.mean([kappa(each) for each in pairs]))


def test_intervals_draw_whole_questions() -> None:
    """The share of each draw, from the rows of the questions that it holds, one after the other."""
    marked, said = made(1)
    found = measure(marked, said)
    order = list(dict.fromkeys(row.case.question for row in marked.rows if any(row.marks)))
    rows = [
        (order.index(r.case.question), r.marks[0] == v) for r, v in zip(marked.rows, said, strict=True) if any(r.marks)
    ]
    shares = []
    for times in draws(len(order)):
        held = [same for question, same in rows for _ in range(int(times[question]))]
        shares.append(np.mean(held))
    tail = tail_percent(len(order))
    low, median, high = np.percentile(shares, [tail, 50, 100 - tail])
    assert found.share.low == pytest.approx(found.share.value + low - median)
    assert found.share.high == pytest.approx(found.share.value + high - median)
    assert found.kappa.low < found.kappa.value < found.kappa.high


def of(marks: list[str], said: list[str], people: str = "a person", domain: str = "") -> Agreement:
    rows = [Marked(Case("q", "a", str(at)), (mark,)) for at, mark in enumerate(marks)]
    return measure(MarkedList("m.csv", rows, people, domain), said)


def test_in_words() -> None:
    marks = ["correct"] * 6 + ["incorrect"] * 4
    found = of(marks, ["correct"] * 5 + ["incorrect"] * 3 + ["correct", ""])
    # One question has no interval. By hand: 7 of 10; 5 of 6, and 2 of 4; 6 of 10 are correct.
    assert found.in_words == (
        f"agrees with a person on 70.0% of 10 marked answers of m.csv (Cohen's kappa {kappa_of_nine():.2f}, "
        "83.3% of correct and 50.0% of incorrect, the more frequent mark alone 60.0%, 1 without a verdict)"
    )
    alike = of(["correct"] * 3, ["correct"] * 3, people="people", domain="general questions")
    assert alike.in_words == (
        "agrees with people on 100.0% of 3 marked answers of m.csv (Cohen's kappa undefined, as fewer than two marks "
        "occur, 100.0% of correct, the more frequent mark alone 100.0%; general questions)"
    )
    marked, said = made(2)
    words = measure(marked, said, num_drawn_from=1000).in_words
    assert "agrees with 2 people on" in words
    assert "drawn from 1,000" in words
    assert "people with each other" in words
    assert words.endswith("; made questions)")


def kappa_of_nine() -> float:
    """Without the one that has no verdict: 5 and 2 of 9 alike, 6 and 3 correct by the person, 6 and 3 by the judge."""
    by_chance = (6 * 6 + 3 * 3) / 81
    return (7 / 9 - by_chance) / (1 - by_chance)


def test_json_has_no_nan() -> None:
    found = of(["correct"] * 3, ["correct"] * 3)
    assert math.isnan(found.kappa.value)
    back = json.loads(json.dumps(found.as_json, allow_nan=False))
    assert back["kappa"] == {"value": None, "low": None, "high": None}
    assert back["in_words"] == found.in_words
