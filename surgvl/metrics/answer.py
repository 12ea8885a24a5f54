"""Answers as text: when two count as the same, and the blind baselines, which do not see the video.

Accuracy and F1 of closed answers come from `classify`, with the different answer strings as classes. The blind
baseline (the most frequent training answer of the same question) is what surgical VQA tables should be read against: on
PitVQA it reaches 44 % accuracy.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError


class LabelledQuestion(NamedTuple):
    """A question of the training split with its answer."""

    question: str
    answer: str
    type: str


class Encoded(NamedTuple):
    """Answers as class ids: classes in alphabetical order [C], truth int [N], prediction int [N]."""

    classes: list[str]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]


@lru_cache(maxsize=1 << 16)
def normalise(text: str) -> str:
    """Lower case, underscores as blanks, single blanks, no full stop at the end.

    >>> normalise(" Cystic_Duct. ")
    'cystic duct'
    """
    return re.sub(r"[\s_]+", " ", text.casefold()).strip().rstrip(".").rstrip()


def exact_match(truth: Sequence[str], predicted: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each answer equals its truth after `normalise`: bool [N].

    Raises:
        DataError: lengths differ.
    """
    if len(truth) != len(predicted):
        raise DataError(f"{len(truth)} true and {len(predicted)} predicted answers: give one for each question")
    return np.array([normalise(a) == normalise(b) for a, b in zip(truth, predicted, strict=True)], bool)


def encode(truth: Sequence[str], predicted: Sequence[str]) -> Encoded:
    """Number the different normalised answers of both sides, as scikit-learn does with strings.

    Raises:
        DataError: lengths differ, or there is no answer.
    """
    if len(truth) != len(predicted) or not truth:
        raise DataError(f"{len(truth)} true and {len(predicted)} predicted answers: give one for each question")
    known = {text: normalise(text) for text in {*truth, *predicted}}
    classes = sorted(set(known.values()))
    ids = {name: at for at, name in enumerate(classes)}
    sides = (np.array([ids[known[text]] for text in side], np.int64) for side in (truth, predicted))
    return Encoded(classes, *sides)


def most_frequent(answers: Iterable[str]) -> str:
    """The most frequent answer; of equally frequent ones the first in the alphabet.

    Raises:
        DataError: there is none.
    """
    counts = Counter(answers)
    if not counts:
        raise DataError("no answers to count: the training split holds no questions")
    return min(counts, key=lambda answer: (-counts[answer], answer))


def blind_answers(training: Iterable[LabelledQuestion], questions: Sequence[str], types: Sequence[str]) -> list[str]:
    """Answer without the video: the most frequent training answer of the same question, else of its type, else of all.

    Args:
        training: questions of the training split.
        questions: [N].
        types: [N], question types.

    Raises:
        DataError: no training question, or lengths differ.
    """
    if len(questions) != len(types):
        raise DataError(f"{len(questions)} questions and {len(types)} types: give one type for each question")
    by_question: dict[str, list[str]] = defaultdict(list)
    by_type: dict[str, list[str]] = defaultdict(list)
    everything: list[str] = []
    for row in training:
        by_question[normalise(row.question)].append(row.answer)
        by_type[row.type].append(row.answer)
        everything.append(row.answer)
    overall = most_frequent(everything)
    best = {key: most_frequent(answers) for key, answers in by_question.items()}
    best_type = {key: most_frequent(answers) for key, answers in by_type.items()}
    return [best.get(normalise(q), best_type.get(t, overall)) for q, t in zip(questions, types, strict=True)]
