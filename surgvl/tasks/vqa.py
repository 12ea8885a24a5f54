"""Visual question answering with closed or free-text answers, compared with blind baselines and controls.

Our macro-F1 averages over the classes of the truth and counts undefined values as 0. The code behind published PitVQA
and EndoVis18 scores averages over classes in truth or prediction with scikit-learn's `zero_division=1`: a class that is
never predicted gets precision 1, one that is only predicted recall 1, and in scikit-learn 1.3 one that is predicted but
never correctly F1 1. So precision and recall are given with undefined values as 0 (`zd0`) and as 1 (`zd1`), and F1 in
each way. PitVQA: He et al., arXiv 2405.13949. Free text is also scored by words.

Two comparisons show whether the video matters: a predictor that sees no video (the blind baseline), and the same model
with another video in place of the right one (controls). A model that ignores the video scores the same as its controls.

Shape letters: N rows, V videos, R draws, K question types.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.results import Result, Statistic
from surgvl.metrics import classify, text
from surgvl.metrics.answer import Guess, LabelledQuestion, blind_answers, encode, majority_answer, of_types
from surgvl.metrics.classify import over_pooled_rows
from surgvl.metrics.outcomes import PROBLEMS
from surgvl.tasks.answer_calibration import Forecast, calibration_results
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import NUM_RANDOM, Inputs, Task, means, point_estimate

_MODES = {
    "closed": "closed answers",
    "head": "closed answers of a classification head",
    "open": "open answers",
}
_UNION = "answers pooled; classes in truth or prediction"
_PROTOCOLS = {
    "accuracy": "answers pooled",
    "macro_precision_zd0": f"{_UNION}; never predicted counts as 0",
    "macro_precision_zd1": f"{_UNION}; never predicted counts as 1",
    "macro_recall_zd0": f"{_UNION}; absent from the truth counts as 0",
    "macro_recall_zd1": f"{_UNION}; absent from the truth counts as 1",
    "macro_f1_zd0": f"{_UNION}; never right counts as 0, by either zero-division rule of scikit-learn other than 1.3",
    "macro_f1": "classes in the truth, undefined counts as 0",
    "macro_f1_sklearn13_zd1": f"{_UNION}; predicted but never right counts as 1 (scikit-learn 1.3)",
    "balanced_accuracy": "mean recall of classes in the truth",
    "weighted_f1": "classes weighted by their rows",
    "unmatched_rate": "share of predictions that are none of the allowed answers; they count as wrong",
    "unparsed_rate": "share of replies that declare none of the options, or two; they count as wrong",
    "refused_rate": "share of questions that the model declined to answer; they count as wrong",
    "missing_rate": "share of questions without a reply; they count as wrong",
    "late_rate": "share of questions without a reply in time; they count as wrong",
}
_WORDS = "words in lower case without punctuation"
_BLEU = f"all answers together, without smoothing, {_WORDS} (nltk's n-grams)"
_ROUGE = f"mean F1 over answers, no stemming, {_WORDS} (rouge-score)"
# Word metrics exist only for free text, so their names need no mode.
_BY_WORDS = {
    **dict.fromkeys([f"bleu_{order}" for order in range(1, text.ORDERS + 1)], _BLEU),
    **dict.fromkeys(["rouge_1", "rouge_l"], _ROUGE),
    "meteor": "mean over answers, exact and Porter-stem matches but no WordNet synonyms, alpha 0.9, beta 3, gamma 0.5 "
    f"(nltk), {_WORDS}; an answer of m words that equals its truth scores 1 - 0.5 / m^3",
}
_GAIN = (
    "accuracy minus that of a blind baseline, on the same draws of videos, so about 0 where the picture is ignored; "
    "blind: the most frequent training answer of the question; no video: the same model, the question alone; "
    "black video: the same model, every frame black; "
    "other video: the same model, a clip asked about in another video of the split"
)
# In the second table of the page.
_DETAIL = ("macro_precision_zd0", "macro_precision_zd1", "macro_recall_zd0", "macro_recall_zd1", "macro_f1_zd0")
_RATES = tuple(f"{name}_rate" for name in PROBLEMS)
# Shown for each question type.
_BY_TYPE = ("accuracy", "rouge_l")


class Vqa(Task[Answers]):
    """Answers to questions about segments of video.

    Args:
        training: questions and answers of the training split, or how often each is there, for the blind and majority
            baselines, restricted to the types that are asked; without them the test answers themselves are used, which
            favours the baselines.
        labels: description of the questions, for the protocol.
        seed: of the bootstrap and of random answers.
    """

    name = "vqa"
    version = 1
    MODES: ClassVar[Collection[str]] = tuple(_MODES)

    def __init__(self, training: Iterable[LabelledQuestion] = (), labels: str = "questions", seed: int = 0) -> None:
        self.training = Counter(training)
        self.labels = labels
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Answers], Answers]]:
        """Take the answers of each mode."""
        found = [(answers, labels) for answers, labels in inputs.answers() if answers.mode in cls.MODES]
        training = inputs.training_questions() if found else ()
        return [(cls(training, labels, inputs.seed), answers) for answers, labels in found]

    def score(self, predictions: Answers) -> list[Result]:
        """Score answers of one mode."""
        measure = _Measure(predictions)
        guesses = self._guesses(predictions)
        blind, others = next(iter(guesses)), self._others(predictions, guesses)
        # No word metrics for the many random draws: they would take minutes and show nothing.
        baselines = {
            name: means([measure.level(said, measure.words and len(draws) == 1) for said in draws])
            for name, draws in others.items()
        }
        # Not the random baseline, which would be alike for every question type.
        comparisons = {name: measure.by_type(others[name][0]) for name in (blind, *predictions.controls)}
        parts: dict[str, dict[str, float]] = measure.by_type(predictions.predictions)
        parts["macro_f1"] = _f1_of_answers(predictions)
        base = f"{self.labels}, {_MODES[predictions.mode]}, equal after case, underscores and full stop are dropped"
        suffix = "" if predictions.mode == "closed" else f"_{predictions.mode}"
        make = partial(
            self.result,
            num_videos=measure.num_videos,
            num_clips=len(predictions.answers),
            seed=self.seed,
            video_names=measure.video_names,
        )
        results = []
        mine = measure.over_videos(predictions.predictions)
        shares = {"unmatched_rate": ~predictions.matched} | {
            f"{name}_rate": np.array([each == name for each in predictions.outcomes])
            for name in PROBLEMS
            if name in predictions.outcomes
        }
        for metric, statistic in {**mine, **{name: measure.share(rows) for name, rows in shares.items()}}.items():
            found = make(
                metric if metric in _BY_WORDS else metric + suffix,
                statistic,
                {name: table[metric] for name, table in baselines.items() if metric in table},
                f"{base}; {_PROTOCOLS.get(metric) or _BY_WORDS[metric]}",
                per_class=parts.get(metric) if metric in (*_BY_TYPE, *_BY_WORDS, "macro_f1") else None,
            )
            found = dataclasses.replace(found, detail=metric in _DETAIL or metric in _RATES)
            if metric in _BY_TYPE:
                table = {name: each[metric] for name, each in comparisons.items()}
                found = dataclasses.replace(found, per_class_baselines=table, per_class_clips=measure.clips)
            results.append(found)
        if predictions.mode != "open":
            results += self._calibration(predictions, guesses, base, suffix)
        if predictions.judged:

            def judged(marks: Sequence[str]) -> Statistic:
                return measure.share(np.array([each == "correct" for each in marks]))

            beside = {name: judged(marks) for name, marks in predictions.control_judged.items()}
            others_judged = {name: point_estimate(each, measure.num_videos) for name, each in beside.items()}
            said = f"share of correct answers, {predictions.judge}; an answer without a mark counts as wrong"
            results.append(make("judged_accuracy", judged(predictions.judged), others_judged, f"{self.labels}; {said}"))
        for name in (blind, *predictions.controls) if predictions.controls else ():
            theirs = measure.over_videos(others[name][0])["accuracy"]
            named = f"gain_over_{name.partition(' (')[0].replace(' ', '_')}{suffix}"
            gain = make(named, _minus(mine["accuracy"], theirs), {}, f"{base}; {_GAIN}", bounds=(-1.0, 1.0))
            ignores = gain.value <= 0 or gain.low <= 0
            results.append(dataclasses.replace(gain, warning=f"no better than {name}" if ignores else ""))
        made: dict[str, Any] = {"encoder": predictions.encoder, "num_trainable": predictions.num_trainable}
        return [dataclasses.replace(result, **made) for result in results]

    def _calibration(self, rows: Answers, guesses: dict[str, list[Guess]], base: str, suffix: str) -> list[Result]:
        """Scores of the confidences, beside those of controls and of how often a guess is right in training."""
        forecast = partial(Forecast.of_choices, rows.answers)
        others = {name: forecast(said, rows.control_confidences.get(name, ())) for name, said in rows.controls.items()}
        for name, each in guesses.items():
            others[name] = forecast([guess.answer for guess in each], [guess.share for guess in each])
        own = forecast(rows.predictions, rows.confidences)
        return calibration_results(
            own, others, rows.video_ids, self.result, self.seed, base, lambda metric: metric + suffix
        )

    def _training(self, rows: Answers) -> tuple[Counter[LabelledQuestion], str]:
        """Training questions of the types that are asked, or else those of the test split, and what says so."""
        if training := of_types(self.training, rows.types) or self.training:
            return training, ""
        return Counter(map(LabelledQuestion, rows.questions, rows.answers, rows.types)), " (of test)"

    def _guesses(self, rows: Answers) -> dict[str, list[Guess]]:
        """Answers of the blind and the majority baseline, in this order."""
        training, mark = self._training(rows)
        return {
            f"blind{mark}": blind_answers(training, rows.questions, rows.types),
            f"majority{mark}": [majority_answer(training)] * len(rows.questions),
        }

    def _others(self, rows: Answers, guesses: dict[str, list[Guess]]) -> dict[str, list[Sequence[str]]]:
        """The answers of baselines and controls: a list each, several for the random one."""
        choices = sorted({row.answer for row in self._training(rows)[0]})
        # Drawn in a sorted order, so that the order of rows does not matter.
        keys = list(zip(rows.video_ids, rows.questions, rows.answers, rows.predictions, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        generator = np.random.default_rng(self.seed)
        random: list[Sequence[str]] = []
        for _ in range(NUM_RANDOM):
            drawn = np.empty(len(order), np.int64)
            drawn[order] = generator.integers(0, len(choices), len(order))
            random.append([choices[at] for at in drawn])
        found: dict[str, list[Sequence[str]]] = {name: [[each.answer for each in guesses[name]]] for name in guesses}
        blind, majority = found
        return {
            blind: found[blind],
            **{name: [said] for name, said in rows.controls.items()},
            majority: found[majority],
            "random": random,
        }


class _Measure:
    """Scores of any answers to the same questions, over draws of videos and by question type."""

    def __init__(self, rows: Answers) -> None:
        self.truth, self.words = rows.answers, rows.mode == "open"
        names, self.videos = np.unique(np.asarray(rows.video_ids, np.str_), return_inverse=True)
        types, self.types = np.unique(np.asarray(rows.types, np.str_), return_inverse=True)
        self.video_names, self.num_videos = names.tolist(), len(names)
        self.names = [str(name) for name in types]
        self.clips = dict(zip(self.names, np.bincount(self.types).tolist(), strict=True))

    def over_videos(self, said: Sequence[str]) -> dict[str, Statistic]:
        """For each metric, a statistic over draws of videos."""
        return _statistics(self.truth, said, self.videos, self.words)

    def level(self, said: Sequence[str], words: bool) -> dict[str, float]:
        """Each metric over all videos."""
        found = _statistics(self.truth, said, self.videos, words).items()
        return {metric: point_estimate(statistic, self.num_videos) for metric, statistic in found}

    def by_type(self, said: Sequence[str]) -> dict[str, dict[str, float]]:
        """Each metric by question type."""
        each = np.eye(len(self.names))
        found = _statistics(self.truth, said, self.types, self.words).items()
        return {metric: dict(zip(self.names, statistic(each).tolist(), strict=True)) for metric, statistic in found}

    def share(self, rows: NDArray[np.bool_]) -> Statistic:
        """A statistic over draws of videos: the fraction of answers in `rows`."""
        such, asked = np.bincount(self.videos, weights=rows), np.bincount(self.videos)
        return lambda weights: (weights @ such) / (weights @ asked)


def _statistics(
    truth: Sequence[str], predicted: Sequence[str], groups: Int64Array, words: bool
) -> dict[str, Statistic]:
    """For each metric, a statistic over draws of groups of rows, such as videos."""
    coded = encode(truth, predicted)
    counts = classify.count(coded.truth, coded.predicted, groups, len(coded.classes))

    def pooled(metric: Callable[[classify.Counts], Float64Array]) -> Statistic:
        return lambda weights: metric(counts.pooled(weights))

    def macro(metric: Callable[[classify.Counts], Float64Array], zero_division: float) -> Statistic:
        return over_pooled_rows(metric, counts, "union", zero_division).statistic

    found: dict[str, Statistic] = {
        "accuracy": pooled(classify.accuracy),
        "macro_f1": pooled(partial(classify.macro_f1, absent="truth")),
        "macro_f1_sklearn13_zd1": pooled(partial(classify.macro_f1, absent="union", compat="sklearn13_zd1")),
        "balanced_accuracy": pooled(classify.balanced_accuracy),
        "weighted_f1": pooled(classify.weighted_f1),
        "macro_precision_zd0": macro(classify.precision, 0.0),
        "macro_precision_zd1": macro(classify.precision, 1.0),
        "macro_recall_zd0": macro(classify.recall, 0.0),
        "macro_recall_zd1": macro(classify.recall, 1.0),
        "macro_f1_zd0": macro(classify.f1, 0.0),
    }
    return found | _of_words(truth, predicted, groups) if words else found


def _of_words(truth: Sequence[str], predicted: Sequence[str], groups: Int64Array) -> dict[str, Statistic]:
    sums = text.count(truth, predicted, groups)

    def pooled(metric: Callable[[text.TextCounts], Float64Array]) -> Statistic:
        return lambda weights: metric(sums.pooled(weights))

    orders = {f"bleu_{order}": pooled(partial(text.bleu, order=order)) for order in range(1, text.ORDERS + 1)}
    return orders | {metric: pooled(partial(text.mean, metric=metric)) for metric in ("rouge_1", "rouge_l", "meteor")}


def _minus(mine: Statistic, theirs: Statistic) -> Statistic:
    return lambda weights: mine(weights) - theirs(weights)


def _f1_of_answers(rows: Answers) -> dict[str, float]:
    """F1 of each answer that occurs in the truth."""
    coded = encode(rows.answers, rows.predictions)
    counts = classify.count(coded.truth, coded.predicted, np.zeros(len(coded.truth), np.int64), len(coded.classes))
    pairs = zip(coded.classes, classify.f1(counts)[0], counts.truth[0], strict=True)
    return {name: float(value) for name, value, rows_of_class in pairs if rows_of_class}
