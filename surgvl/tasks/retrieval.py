"""Text-to-moment retrieval: describe a triplet in words, and find a second of the test videos in which it happens.

Queries are the triplets that occur in the test videos, except null triplets, which nobody would search for. A results
page shows distinct moments, so the main metrics drop results within 2 s of a better one in the same video; metrics over
raw clips are given as well.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.core.results import Result, Statistic
from surgvl.metrics import retrieval
from surgvl.metrics.triplet import TripletClasses
from surgvl.tasks.base import NUM_RANDOM, Inputs, Scores, Task, Unavailable, means, point_estimate
from surgvl.tasks.multi_label import multi_hot
from surgvl.tasks.triplet import ordered

KS = (1, 5, 10)


class Retrieval(Task[Scores]):
    """Retrieve moments of triplets by text; the score of a class is the similarity of its text with a clip.

    Args:
        truth: [N, T], 0 or 1, for each row of the scores.
        gap_s: minimum distance between results in the same video.
        labels: description of the texts, for the protocol.
        seed: of the bootstrap and of random scores.
        names: triplets of the columns, CholecT50's hundred by default.
    """

    name = "retrieval"
    version = 1
    kind = "triplet"

    def __init__(
        self,
        truth: ArrayLike,
        gap_s: float = 2.0,
        labels: str = "triplets",
        seed: int = 0,
        names: Sequence[str] = TRIPLET_NAMES,
    ) -> None:
        self.classes = TripletClasses.of(tuple(names))
        self.truth = np.asarray(truth)
        self.gap_s = gap_s
        self.labels = labels
        self.seed = seed

    @classmethod
    def prepare(cls, inputs: Inputs) -> list[tuple[Task[Scores], Scores]]:
        """Take the triplets of each second; clips are ranked by their similarity with the text of a triplet."""
        if not inputs.by_text:
            raise Unavailable("retrieval by sentences needs --vectors")
        found: list[tuple[Task[Scores], Scores]] = []
        for group in inputs.clips(cls.kind):
            names = group.scores.class_names
            task = cls(multi_hot(group.labels, names), labels=group.protocol, seed=inputs.seed, names=names)
            task.data = group.data
            found.append((task, group.scores))
        return found

    def score(self, predictions: Scores) -> list[Result]:
        """Score the ranking of all clips for each triplet.

        Raises:
            DataError: scores and truth differ in length, classes are not those of the truth, or no triplet occurs.
        """
        truth, scores, videos = ordered(self.truth, predictions, self.classes)
        times_s = predictions.times_s[predictions.order]
        actions = ~self.classes.null
        right = truth[:, actions].T
        asked = right.any(axis=1)
        if not asked.any():
            raise DataError(f"no triplet occurs in {len(truth)} rows: check the split and the task of the segments")
        right = right[asked]
        measure = partial(_statistics, right=right, videos=videos, times_s=times_s, gap_s=self.gap_s)
        mine = measure(scores[:, actions].T[asked])
        num_videos = len(predictions.video_names)

        def values(baseline: NDArray[np.floating]) -> dict[str, float]:
            return {name: point_estimate(statistic, num_videos) for name, statistic in measure(baseline).items()}

        generator = np.random.default_rng(self.seed)
        random = means([values(generator.random(right.shape, np.float32)) for _ in range(NUM_RANDOM)])
        constant = values(np.zeros(right.shape, np.float32))
        base = (
            f"{self.labels}, {len(right)} triplets as queries, {len(truth)} clips; a hit is a second with the triplet"
        )
        return [
            self.result(
                metric,
                statistic,
                {"constant": constant[metric], "random": random[metric]},
                f"{base}; {self._variant(metric)}",
                num_videos=num_videos,
                num_clips=len(truth),
                seed=self.seed,
                video_names=predictions.video_names,
                bounds=(1.0, math.inf) if metric == "median_rank" else (0.0, 1.0),
            )
            for metric, statistic in mine.items()
        ]

    def _variant(self, metric: str) -> str:
        if metric in {"recall@1", "recall@5", "recall@10", "median_rank"}:
            return f"results of a video at least {self.gap_s:g} s apart, ties by video and time"
        return "every clip is a result, ties by video and time"


def _statistics(
    scores: NDArray[np.floating],
    right: NDArray[np.bool_],
    videos: Int64Array,
    times_s: Float64Array,
    gap_s: float,
) -> dict[str, Statistic]:
    """For each metric, a statistic over draws of videos; scores and truth [Q, M], M ordered by video and time."""
    order = retrieval.ranking(scores)
    apart = retrieval.first_hits(order, right, videos, retrieval.temporal_nms(scores, times_s, videos, gap_s))
    raw = retrieval.first_hits(order, right, videos)

    def recall(hits: retrieval.FirstHits, k: int) -> Statistic:
        return lambda weights: retrieval.recall_at(hits.ranks(weights), k)

    found = {f"recall@{k}": recall(apart, k) for k in KS}
    found["median_rank"] = lambda weights: retrieval.median_rank(apart.ranks(weights))
    found |= {f"recall@{k}_raw": recall(raw, k) for k in KS}
    found["mAP_raw"] = partial(retrieval.mean_average_precision, order, right, videos)
    return found
