"""Answers as text: equality of answers, and the blind baselines, which never see the video.

Accuracy and F1 of closed answers come from `classify`, with the distinct answer strings as classes. Surgical VQA tables
should be read against the blind baseline, the most frequent training answer to the same question: on PitVQA it reaches
44 % accuracy.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError


class LabelledQuestion(NamedTuple):
    """A training question with its answer."""

    question: str
    answer: str
    type: str


def of_types(training: Mapping[LabelledQuestion, int], types: Iterable[str]) -> Counter[LabelledQuestion]:
    """Counts of the training questions of some types."""
    asked = set(types)
    return Counter({row: num for row, num in training.items() if row.type in asked})


class Encoded(NamedTuple):
    """Answers as class ids: classes in alphabetical order [C], truth int [N], prediction int [N]."""

    classes: list[str]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]


@lru_cache(maxsize=1 << 16)
def normalise(text: str) -> str:
    """Lower case, underscores as spaces, single spaces, no trailing full stop.

    >>> normalise(" Cystic_Duct. ")
    'cystic duct'
    """
    return re.sub(r"[\s_]+", " ", text.casefold()).strip().rstrip(".").rstrip()


def to_text(answer: str) -> str:
    """An answer as text: PitVQA and other data sets write underscores for spaces."""
    return answer.replace("_", " ").strip()


def encode(truth: Sequence[str], predicted: Sequence[str]) -> Encoded:
    """Class ids of the normalised answers of both sides, as scikit-learn does with strings.

    Raises:
        DataError: lengths differ, or there are no answers.
    """
    if len(truth) != len(predicted) or not truth:
        raise DataError(f"{len(truth)} true and {len(predicted)} predicted answers: give one per question")
    known = {text: normalise(text) for text in {*truth, *predicted}}
    classes = sorted(set(known.values()))
    ids = {name: at for at, name in enumerate(classes)}
    number = {text: ids[name] for text, name in known.items()}
    sides = (np.fromiter(map(number.__getitem__, side), np.int64, len(side)) for side in (truth, predicted))
    return Encoded(classes, *sides)


class Guess(NamedTuple):
    """An answer of a predictor that sees no video, and how often it is the answer in training, 0 ... 1."""

    answer: str
    share: float


def most_frequent(answers: Iterable[str]) -> Guess:
    """The most frequent of answers, or of counts of answers; ties go to the alphabetically first.

    Raises:
        DataError: there are no answers.
    """
    counts = Counter(answers)
    if not counts:
        raise DataError("no answers to count: the training split has no questions")
    found = min(counts, key=lambda answer: (-counts[answer], answer))
    return Guess(found, counts[found] / counts.total())


def majority_answer(training: Mapping[LabelledQuestion, int]) -> Guess:
    """The most frequent answer in counts of training questions.

    Raises:
        DataError: there are none.
    """
    counts: Counter[str] = Counter()
    for row, num in training.items():
        counts[row.answer] += num
    return most_frequent(counts)


def blind_answers(training: Iterable[LabelledQuestion], questions: Sequence[str], types: Sequence[str]) -> list[Guess]:
    """Blind answers: the most frequent training answer to the same question, else to its type, else overall.

    Args:
        training: questions of the training split, or how often each is there.
        questions: [N].
        types: [N], question types.

    Raises:
        DataError: no training questions, or lengths differ.
    """
    if len(questions) != len(types):
        raise DataError(f"{len(questions)} questions and {len(types)} types: give one type per question")
    by_question: dict[str, Counter[str]] = defaultdict(Counter)
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    everything: Counter[str] = Counter()
    for row, num in Counter(training).items():
        by_question[normalise(row.question)][row.answer] += num
        by_type[row.type][row.answer] += num
        everything[row.answer] += num
    overall = most_frequent(everything)
    best = {key: most_frequent(answers) for key, answers in by_question.items()}
    best_type = {key: most_frequent(answers) for key, answers in by_type.items()}
    # Hundreds of thousands of rows ask a few hundred questions.
    asked = set(zip(questions, types, strict=True))
    found = {(q, t): best.get(normalise(q), best_type.get(t, overall)) for q, t in asked}
    return [found[each] for each in zip(questions, types, strict=True)]
