"""Open-ended answers: BLEU-1 to 4, ROUGE-1, ROUGE-L and METEOR.

BLEU (Papineni et al., ACL 2002) is a corpus score: n-gram counts are summed before dividing, without smoothing. ROUGE
(Lin, 2004) and METEOR (Lavie and Agarwal, 2007) are means over answers. So a bootstrap over videos needs only a few
sums per video. n-grams and METEOR are counted by nltk, ROUGE by rouge-score.

All use the same tokens: runs of letters and digits in lower case. METEOR is nltk's with exact and Porter-stem matches;
WordNet synonyms are omitted, because WordNet is a separate download. METEOR rewards long matched runs, so a perfect
answer of m words scores 1 - 0.5 / m^3: 0.5 for one word.

Shape letters: N answers, V videos, R draws; "..." is any leading shape, such as [V] or [R].
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import ConfigError, DataError

Pair = Callable[[str, str], tuple[float, ...]]

ORDERS = 4


@dataclass(frozen=True)
class TextCounts:
    """Sums over answers.

    Attributes:
        matched: float64 [..., 4], clipped n-gram matches.
        written: float64 [..., 4], n-grams of the predictions.
        wanted: float64 [..., 4], n-grams of the references.
        rouge_1: float64 [...], sum of F1 of words.
        rouge_l: float64 [...], sum of F1 of the longest common subsequence.
        meteor: float64 [...], sum.
        answers: float64 [...], number of answers.
    """

    matched: Float64Array
    written: Float64Array
    wanted: Float64Array
    rouge_1: Float64Array
    rouge_l: Float64Array
    meteor: Float64Array
    answers: Float64Array

    def pooled(self, weights: ArrayLike | None = None) -> "TextCounts":
        """Sum over videos weighted by `weights` [R, V] (None: one each): [V, ...] -> [R, ...]."""
        counted = np.ones((1, len(self.answers))) if weights is None else np.asarray(weights, np.float64)
        return TextCounts(*(counted @ vars(self)[field.name] for field in fields(self)))


def words(text: str) -> list[str]:
    """Tokens of a text: runs of letters and digits in lower case.

    >>> words("The cystic_duct, top-left.")
    ['the', 'cystic', 'duct', 'top', 'left']
    """
    return re.findall(r"[^\W_]+", text.casefold())


def count(truth: Sequence[str], predicted: Sequence[str], videos: ArrayLike) -> TextCounts:
    """Sums per video; repeated pairs of texts are compared once.

    Args:
        truth: [N], true answers.
        predicted: [N], answers.
        videos: int [N], 0 ... V-1.

    Returns:
        Sums [V, ...].

    Raises:
        DataError: lengths differ, there are no answers, or a video number is negative.
        ConfigError: nltk or rouge-score is not installed.
    """
    codes = np.asarray(videos)
    if not len(truth) or len(predicted) != len(truth) or codes.shape != (len(truth),) or codes.min() < 0:
        found = f"{len(truth)} true and {len(predicted)} predicted answers, videos of shape {codes.shape}"
        raise DataError(f"{found}: give one answer and one number from 0 per question")
    compare = _comparer()
    pairs = list(zip(truth, predicted, strict=True))
    numbers = {pair: at for at, pair in enumerate(sorted(set(pairs)))}
    table = np.array([compare(*pair) for pair in numbers])
    rows = np.array([numbers[pair] for pair in pairs])
    # Summed in a fixed order, so that the order of rows changes no digit.
    order = np.lexsort((rows, codes))
    sums = np.zeros((int(codes.max()) + 1, table.shape[1]))
    np.add.at(sums, codes[order], table[rows[order]])
    parts = np.split(sums, [ORDERS, 2 * ORDERS, 3 * ORDERS], axis=1)
    return TextCounts(*parts[:3], *parts[3].T)


def bleu(counts: TextCounts, order: int) -> Float64Array:
    """Corpus BLEU of n-grams up to `order`: [..., 4] -> [...].

    The geometric mean of the n-gram precisions times the brevity penalty. NaN if no reference has `order` words.

    Raises:
        DataError: an order outside 1 ... 4.
    """
    if not 1 <= order <= ORDERS:
        raise DataError(f"the order of BLEU must be 1 to {ORDERS}, got {order}")
    matched, written, wanted = (part[..., :order] for part in (counts.matched, counts.written, counts.wanted))
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(written > 0, matched / written, 0.0)
        brevity = np.minimum(1.0, np.exp(1 - wanted[..., 0] / written[..., 0]))
        values = np.where(written[..., 0] > 0, brevity * np.exp(np.log(precisions).mean(-1)), 0.0)
    return np.asarray(np.where(wanted[..., -1] > 0, values, np.nan))


def mean(counts: TextCounts, metric: str) -> Float64Array:
    """Mean over answers of `rouge_1`, `rouge_l` or `meteor`: [...]; NaN without answers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Float64Array = vars(counts)[metric] / counts.answers
    return values


class _NoSynonyms:
    """Stands in for WordNet in nltk's METEOR."""

    def synsets(self, word: str) -> list[Any]:
        """No synonyms."""
        return []


class _Words:
    """Tokenizer for rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        """Tokens of a text."""
        return words(text)


@lru_cache(maxsize=1)
def _comparer() -> Pair:
    """A function (truth, answer) -> the 16 numbers of `TextCounts` for one answer.

    nltk takes a second to import, hence here.
    """
    try:
        from nltk.translate.bleu_score import modified_precision
        from nltk.translate.meteor_score import single_meteor_score
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(
            f"open-ended answers are scored with nltk and rouge-score; {error.name} is not installed: "
            "pip install 'surgvl[eval]'"
        ) from error
    scorer = RougeScorer(["rouge1", "rougeL"], tokenizer=_Words())
    synonyms = _NoSynonyms()

    # The same answers are counted per video and per question type.
    @lru_cache(maxsize=1 << 17)
    def compare(truth: str, answer: str) -> tuple[float, ...]:
        want, got = words(truth), words(answer)
        orders = range(1, ORDERS + 1)
        matched = [float(modified_precision([want], got, n).numerator) for n in orders]
        # nltk counts one n-gram for an answer too short to have any; the definition counts none.
        written, wanted = ([float(max(0, len(side) - n + 1)) for n in orders] for side in (got, want))
        rouge = scorer.score(truth, answer)
        meteor = float(single_meteor_score(want, got, wordnet=synonyms))
        return (*matched, *written, *wanted, rouge["rouge1"].fmeasure, rouge["rougeL"].fmeasure, meteor, 1.0)

    return compare
