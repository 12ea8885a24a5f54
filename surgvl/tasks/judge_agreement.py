"""How far a judge agrees with people who marked the same answers: share, Cohen's kappa, and for each mark.

Kappa is agreement beyond chance (Cohen 1960); with several people, the mean over them, as theirs with one another is
the mean over pairs (Light, Psychological Bulletin 1971). Answers to one question are not independent of each other, so
intervals are of a bootstrap over questions.

Shape letters: N answers, J people, Q questions, R draws of questions.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.results import Statistic, bootstrap, finite_or_null
from surgvl.metrics.agreement import quadratic_kappa
from surgvl.tasks.judge import VERDICTS
from surgvl.tasks.marks.base import MarkedList


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval over questions; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How often a judge says what people say.

    Attributes:
        name: of the list.
        people: who marked, in words.
        domain: what its questions are about, if not what is evaluated.
        num_marks: marks of people, of which each is compared with the judge's.
        num_answers: N.
        num_questions: Q.
        share: of the marks, those with the same verdict; an answer without a verdict is another one.
        kappa: Cohen's, among those with a verdict, mean over people; undefined if only one mark occurs.
        by_mark: share among the marks `correct`, and among `incorrect`.
        by_part: the share for each part, and its marks.
        constant: the share of a judge that always says the more frequent mark.
        num_unsure: marks of answers without a verdict.
        ceiling: share and kappa of people with one another, and the number of pairs of marks; None for one person.
        num_drawn_from: answers of the whole list, of which N were drawn.
        left_out: entries of the list that were not taken, by reason.
    """

    name: str
    people: str
    domain: str
    num_marks: int
    num_answers: int
    num_questions: int
    share: Score
    kappa: Score
    by_mark: dict[str, Score]
    by_part: dict[str, tuple[float, int]]
    constant: float
    num_unsure: int
    ceiling: tuple[Score, Score, int] | None = None
    num_drawn_from: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def in_words(self) -> str:
        """For the protocol of a score."""
        many = "marks" if self.ceiling else "marked answers"
        per_mark = " and ".join(f"{_percent(score)} of {mark}" for mark, score in self.by_mark.items())
        kappa = f"Cohen's kappa {_number(self.kappa)}"
        if math.isnan(self.kappa.value):
            kappa += ", as fewer than two marks occur"
        words = [kappa, per_mark, f"the more frequent mark alone {self.constant:.1%}"]
        if self.num_drawn_from > self.num_answers:
            words.append(f"drawn from {self.num_drawn_from:,}")
        if self.num_unsure:
            words.append(f"{self.num_unsure:,} without a verdict")
        if self.ceiling:
            share, between, num = self.ceiling
            words.append(f"people with each other {_percent(share)} of {num:,}, kappa {_number(between)}")
        about = f"; {self.domain}" if self.domain else ""
        on = f"{_percent(self.share)} of {self.num_marks:,} {many} of {self.name}"
        return f"agrees with {self.people} on {on} ({', '.join(words)}{about})"

    @property
    def as_json(self) -> dict[str, object]:
        """The same as JSON values, with the words; null for what is undefined."""
        found: dict[str, object] = _finite(asdict(self))
        parts = {name: {"share": share, "num_marks": num} for name, (share, num) in self.by_part.items()}
        ceiling = None
        if self.ceiling:
            share, kappa, num = self.ceiling
            ceiling = {"share": _finite(asdict(share)), "kappa": _finite(asdict(kappa)), "num_pairs": num}
        return found | {"by_part": parts, "ceiling": ceiling, "in_words": self.in_words}


def measure(marked: MarkedList, verdicts: Sequence[str], num_drawn_from: int = 0) -> Agreement:
    """Agreement of a judge's verdicts [N] with the marks of people [N, J]; rows without a mark say nothing.

    Args:
        marked: the list.
        verdicts: `correct`, `incorrect`, or empty.
        num_drawn_from: answers of the whole list, if these are a sample of it.
    """
    pairs = [(row, said) for row, said in zip(marked.rows, verdicts, strict=True) if any(row.marks)]
    J, questions = len(marked.rows[0].marks), {row.case.question: 0 for row, _ in pairs}
    ids = {question: at for at, question in enumerate(questions)}
    Q, people = len(ids), list(itertools.combinations(range(J), 2))
    # By question, person and mark: the judge's verdict, the last for none; and for each pair, the other person's mark.
    with_judge, with_other = np.zeros((Q, J, 2, 3)), np.zeros((Q, len(people), 2, 2))
    parts: dict[str, Counter[bool]] = {}
    for row, said in pairs:
        at = ids[row.case.question]
        for j, mark in enumerate(row.marks):
            if mark:
                with_judge[at, j, VERDICTS.index(mark), VERDICTS.index(said) if said else 2] += 1
                parts.setdefault(row.part, Counter())[mark == said] += 1
        for number, (a, b) in enumerate(people):
            if row.marks[a] and row.marks[b]:
                with_other[at, number, VERDICTS.index(row.marks[a]), VERDICTS.index(row.marks[b])] += 1
    total = with_judge.sum(axis=(0, 1))
    num_both = int(with_other.sum())
    between = (_score(_share(with_other), Q), _score(_kappa(with_other), Q, -1), num_both) if num_both else None
    by_mark = {mark: _score(_share(with_judge, at), Q) for at, mark in enumerate(VERDICTS) if total[at].any()}
    by_part = {part: (said[True] / said.total(), said.total()) for part, said in sorted(parts.items()) if part}
    return Agreement(
        marked.name,
        marked.people,
        marked.domain,
        num_marks=int(total.sum()),
        num_answers=len(pairs),
        num_questions=Q,
        share=_score(_share(with_judge), Q),
        kappa=_score(_kappa(with_judge[..., :2]), Q, -1),
        by_mark=by_mark,
        by_part=by_part,
        constant=float(total.sum(axis=-1).max() / total.sum()),
        num_unsure=int(total[:, 2].sum()),
        ceiling=between,
        num_drawn_from=num_drawn_from,
        left_out=marked.left_out,
    )


def _share(tables: Float64Array, mark: int | None = None) -> Statistic:
    """Share of the same mark, of tables [Q, J, 2, 2 or 3]; of one mark only, if it is given."""
    rows = range(2) if mark is None else [mark]
    same = sum(tables[:, :, at, at].sum(axis=1) for at in rows)
    every = sum(tables[:, :, at].sum(axis=(1, 2)) for at in rows)

    def share(weights: Float64Array) -> Float64Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ same) / (weights @ every), np.float64)

    return share


def _kappa(tables: Float64Array) -> Statistic:
    """Cohen's kappa of tables [Q, J, 2, 2], mean over J; NaN if one of them is undefined."""

    def kappa(weights: Float64Array) -> Float64Array:
        drawn = np.asarray(np.tensordot(weights, tables, 1), np.float64)
        return np.asarray(quadratic_kappa(drawn).mean(axis=-1), np.float64)

    return kappa


def _score(statistic: Statistic, num_questions: int, lowest: float = 0) -> Score:
    found = bootstrap(statistic, num_questions, bounds=(lowest, 1))
    return Score(found.value, found.low, found.high)


def _percent(score: Score) -> str:
    return f"{score.value:.1%}" + ("" if math.isnan(score.low) else f" [{score.low:.1%}, {score.high:.1%}]")


def _number(score: Score) -> str:
    if math.isnan(score.value):
        return "undefined"
    return f"{score.value:.2f}" + ("" if math.isnan(score.low) else f" [{score.low:.2f}, {score.high:.2f}]")


def _finite(value: object) -> Any:
    """The same with lists for tuples and null for NaN, at any depth."""
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return finite_or_null(value)
