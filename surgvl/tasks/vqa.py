"""Visual question answering with closed or free answers, beside what one gets without looking at the video.

Two conventions of macro-F1 circulate: ours counts classes of the truth and 0 for what is undefined; public PitVQA and
EndoVis18 scores were made with scikit-learn 1.3 and `zero_division=1`, which gives 1 to a class that was predicted but
never rightly. Both are given. PitVQA: He et al., arXiv 2405.13949.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from surgvl.metrics import classify
from surgvl.metrics.answer import Asked, blind_answers, encode, most_frequent
from surgvl.results import Result, Statistic
from surgvl.tasks.base import NUM_RANDOM, Answers, Inputs, Task, at_all, means

_PROTOCOLS = {
    "accuracy": "answers pooled",
    "macro_f1": "classes in the truth, undefined counts 0",
    "macro_f1_sklearn13_zd1": "classes in truth or prediction; predicted but never rightly counts 1 (scikit-learn 1.3)",
    "balanced_accuracy": "mean recall of classes in the truth",
    "weighted_f1": "classes weighted by their rows",
    "unmatched_rate": "share of predictions that are none of the allowed answers; they count as wrong",
}


class Vqa(Task[Answers]):
    """Answers to questions about stretches of video.

    Args:
        training: questions and answers of the training split, for the blind and majority baselines; without them the
            test answers themselves are counted, which favours the baselines.
        labels: whose questions they are, for the protocol.
        seed: of the draws of videos and of random answers.
    """

    name = "vqa"
    version = 1

    def __init__(self, training: Sequence[Asked] = (), labels: str = "questions", seed: int = 0) -> None:
        self.training = training
        self.labels = labels
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Answers], Answers]]:
        """Take the answers of each mode."""
        training = inputs.training_questions()
        return [(cls(training, labels, inputs.seed), answers) for answers, labels in inputs.answers()]

    def score(self, predictions: Answers) -> list[Result]:
        """Score answers of one mode."""
        names, videos = np.unique(np.asarray(predictions.video_ids, np.str_), return_inverse=True)
        num_videos = len(names)
        statistics = partial(_statistics, predictions.answers, videos=videos)
        mine = statistics(predictions.predictions)
        unmatched = np.bincount(videos, weights=~predictions.matched, minlength=num_videos)
        asked = np.bincount(videos, minlength=num_videos)
        mine["unmatched_rate"] = lambda weights: (weights @ unmatched) / (weights @ asked)
        baselines = self._baselines(predictions, statistics, num_videos)
        base = f"{self.labels}, {predictions.mode} answers, equal after case, underscores and full stop are dropped"
        return [
            self.result(
                metric if predictions.mode == "closed" else f"{metric}_{predictions.mode}",
                statistic,
                {name: table[metric] for name, table in baselines.items() if metric in table},
                f"{base}; {_PROTOCOLS[metric]}",
                num_videos=num_videos,
                num_clips=len(videos),
                seed=self.seed,
                per_class=self._per_class(metric, predictions),
            )
            for metric, statistic in mine.items()
        ]

    def _baselines(
        self, rows: Answers, statistics: Callable[..., dict[str, Statistic]], num_videos: int
    ) -> dict[str, dict[str, float]]:
        def values(answers: Sequence[str]) -> dict[str, float]:
            return {name: at_all(statistic, num_videos) for name, statistic in statistics(answers).items()}

        training = self.training or [Asked(*row) for row in zip(rows.questions, rows.answers, rows.types, strict=True)]
        mark = "" if self.training else " (of test)"
        majority = most_frequent(row.answer for row in training)
        blind = blind_answers(training, rows.questions, rows.types)
        choices = sorted({row.answer for row in training})
        # Drawn in an order of their own, so that the order of rows changes nothing.
        keys = list(zip(rows.video_ids, rows.questions, rows.answers, rows.predictions, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        generator = np.random.default_rng(self.seed)
        random = []
        for _ in range(NUM_RANDOM):
            drawn = np.empty(len(order), np.int64)
            drawn[order] = generator.integers(0, len(choices), len(order))
            random.append(values([choices[at] for at in drawn]))
        return {
            f"blind{mark}": values(blind),
            f"majority{mark}": values([majority] * len(blind)),
            "random": means(random),
        }

    def _per_class(self, metric: str, rows: Answers) -> dict[str, float] | None:
        """Accuracy of each question type, F1 of each answer."""
        coded = encode(rows.answers, rows.predictions)
        if metric == "accuracy":
            right, types = coded.truth == coded.predicted, np.asarray(rows.types, np.str_)
            return {str(name): float(right[types == name].mean()) for name in np.unique(types)}
        if metric == "macro_f1":
            together = np.zeros(len(coded.truth), np.int64)
            counts = classify.count(coded.truth, coded.predicted, together, len(coded.classes))
            pairs = zip(coded.classes, classify.f1(counts)[0], counts.truth[0], strict=True)
            return {name: float(value) for name, value, rows_of_class in pairs if rows_of_class}
        return None


def _statistics(truth: Sequence[str], predicted: Sequence[str], videos: NDArray[np.int64]) -> dict[str, Statistic]:
    """A statistic of draws of videos for each metric."""
    coded = encode(truth, predicted)
    counts = classify.count(coded.truth, coded.predicted, videos, len(coded.classes))

    def pooled(metric: Callable[[classify.Counts], NDArray[np.float64]]) -> Statistic:
        return lambda weights: metric(counts.pooled(weights))

    return {
        "accuracy": pooled(classify.accuracy),
        "macro_f1": pooled(partial(classify.macro_f1, absent="truth")),
        "macro_f1_sklearn13_zd1": pooled(partial(classify.macro_f1, absent="union", compat="sklearn13_zd1")),
        "balanced_accuracy": pooled(classify.balanced_accuracy),
        "weighted_f1": pooled(classify.weighted_f1),
    }
