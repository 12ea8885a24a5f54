"""What a benchmark task is: predictions in, results out; no model inside, so equal predictions get equal scores.

A task is built with the truth, row for row, and scores `Scores` (a number for each clip and class) or `Answers` (a
string for each question). Shape letters: N rows, C classes, V videos, R draws of videos.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.results import Result, Statistic, bootstrap_interval
from surgvl.metrics.answer import LabelledQuestion

NUM_RANDOM = 5
# How answers come about, see `Answers`.
MODES = ("closed", "head", "open")


@dataclass(frozen=True)
class Scores:
    """A score for each clip and class.

    Attributes:
        video_ids: [N].
        times_s: float [N], seconds that the clips stand for.
        scores: float [N, C]; any real, higher is likelier.
        class_names: [C].

    Raises:
        DataError: no rows, lengths that differ, a class named twice, a value that is not finite, or one (video, time)
            twice.
    """

    video_ids: Sequence[str]
    times_s: NDArray[np.float64]
    scores: NDArray[np.floating]
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        shape = (len(self.video_ids), len(self.class_names))
        if not len(self.video_ids):
            raise DataError("no predictions to score: check the split, and that the vectors are of this manifest")
        if self.scores.shape != shape or self.times_s.shape != shape[:1]:
            raise DataError(
                f"scores {self.scores.shape} and times {self.times_s.shape} for {shape[0]} clips and {shape[1]} "
                "classes: give one row for each clip and one column for each class"
            )
        if len(set(self.class_names)) != shape[1]:
            raise DataError(f"class names {list(self.class_names)} repeat: give each class one column")
        if not (np.isfinite(self.scores).all() and np.isfinite(self.times_s).all()):
            raise DataError("scores or times are not finite: check the model that made them")
        order = self.order
        again = (np.diff(self.videos[order]) == 0) & (np.diff(self.times_s[order]) == 0)
        if again.any():
            row = order[int(again.argmax())]
            where = f"{self.video_ids[row]} at {self.times_s[row]} s"
            raise DataError(f"two predictions for {where}: embed again, each second once")

    @cached_property
    def _codes(self) -> tuple[list[str], NDArray[np.int64]]:
        names, codes = np.unique(np.asarray(self.video_ids, np.str_), return_inverse=True)
        return names.tolist(), codes.astype(np.int64)

    @property
    def video_names(self) -> list[str]:
        """Different video ids [V], sorted."""
        return self._codes[0]

    @property
    def videos(self) -> NDArray[np.int64]:
        """Number of each row's video among `video_names`, int64 [N]."""
        return self._codes[1]

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Rows by video, then time: what a task works in, so that the order of rows changes nothing."""
        found: NDArray[np.int64] = np.lexsort((self.times_s, self.videos))
        return found


@dataclass(frozen=True)
class Labelled:
    """Clips of videos whose labels one prompt set stands for.

    Attributes:
        scores: zero-shot, of N clips.
        labels: [N] lists of class names.
        training_seconds: seconds of each class in these data sets' training split; empty where there is none.
        protocol: what the labels and their scores are.
        data: the videos' sources, where those of others are scored beside them; else empty.
    """

    scores: Scores
    labels: list[list[str]]
    training_seconds: Mapping[str, float]
    protocol: str
    data: str = ""


@dataclass(frozen=True)
class Answers:
    """An answer for each question; all of one mode.

    Attributes:
        video_ids: [N].
        questions: [N].
        answers: [N], the truth.
        types: [N], question types.
        predictions: [N].
        matched: bool [N]; whether the prediction is one of the allowed answers (always so when mode is `open`).
        mode: `closed` (one of a list, by its likelihood), `head` (one of a list, by a classification head) or `open`
            (free text).
        controls: what the same model said to the same questions without their video, [N] each, by name, such as
            `black video`.
        encoder: `frozen` or `fine-tuned`.
        num_trainable: parameters trained on labels.

    Raises:
        DataError: no rows, lengths that differ, or an unknown mode.
    """

    video_ids: Sequence[str]
    questions: Sequence[str]
    answers: Sequence[str]
    types: Sequence[str]
    predictions: Sequence[str]
    matched: NDArray[np.bool_]
    mode: str
    controls: Mapping[str, Sequence[str]] = field(default_factory=dict)
    encoder: str = "not stated"
    num_trainable: int = 0

    def __post_init__(self) -> None:
        texts = (self.video_ids, self.questions, self.answers, self.types, self.predictions)
        lengths = [*map(len, texts), len(self.matched), *map(len, self.controls.values())]
        if not len(self.video_ids):
            raise DataError("no answers to score: check the split, and that the answers are of this manifest")
        if len(set(lengths)) != 1:
            raise DataError(f"answer columns of lengths {lengths}: give one row a question")
        if self.mode not in MODES:
            raise DataError(f"answers of mode {self.mode!r}; known are {', '.join(MODES)}: ask again")


class Inputs(ABC):
    """What the `eval` command has at hand; a task takes from it what it needs.

    Attributes:
        window_s: smoothing of scores over time that was asked for, seconds.
        causal: smoothing over the past only.
        seed: of draws.
        rate_fps: clips for each second of video.
    """

    window_s: float
    causal: bool
    seed: int
    rate_fps: float

    @abstractmethod
    def clips(self, kind: str) -> list[Labelled]:
        """Zero-shot scores of a kind of label (`phase`, `triplet`, ...) and the labels, for each prompt set of its own.

        Raises:
            Unavailable: nothing at hand for this kind.
            DataError: there are labels, and no prompt set for them.
        """

    @abstractmethod
    def answers(self) -> list[tuple[Answers, str]]:
        """Answers, one of each mode, with what they are, for the protocol.

        Raises:
            Unavailable: there are none.
        """

    @abstractmethod
    def training_questions(self) -> list[LabelledQuestion]:
        """Questions and answers of the training split."""


class Unavailable(DataError):
    """The inputs do not hold what a task needs."""


P = TypeVar("P", Scores, Answers)


class Task(ABC, Generic[P]):
    """A benchmark task.

    Attributes:
        name: public name, equal to the file's.
        version: raised when the same predictions would get other scores.
        kind: which of the manifest's labels are the truth (`phase`, `triplet`, ...); empty where its questions are.
        data: sources of the videos, where those of other sources are scored separately.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    kind: ClassVar[str] = ""
    data: str = ""

    @classmethod
    @abstractmethod
    def prepare(cls, inputs: Inputs) -> list[tuple["Task[P]", P]]:
        """Build the task from what the `eval` command has, with the predictions to score.

        Raises:
            Unavailable: the inputs do not hold what the task needs.
        """

    @abstractmethod
    def score(self, predictions: P) -> list[Result]:
        """Score predictions.

        Raises:
            DataError: they do not fit the truth.
        """

    def result(
        self,
        metric: str,
        statistic: Statistic,
        baselines: Mapping[str, float],
        protocol: str,
        *,
        num_videos: int,
        num_clips: int,
        seed: int,
        per_class: dict[str, float] | None = None,
        bounds: tuple[float, float] = (0.0, 1.0),
    ) -> Result:
        """A result with its interval from a bootstrap over videos."""
        value, low, high = bootstrap_interval(statistic, num_videos, seed, bounds)
        return Result(
            task=self.name,
            metric=metric,
            value=value,
            low=low,
            high=high,
            num_videos=num_videos,
            num_clips=num_clips,
            baselines=dict(baselines),
            protocol=protocol,
            per_class=per_class,
            data=self.data,
        )


def point_estimate(statistic: Statistic, num_videos: int) -> float:
    """A statistic over all videos, each once: what a baseline needs."""
    return float(statistic(np.ones((1, num_videos)))[0])


def means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each entry over several random draws."""
    return {name: float(np.mean([table[name] for table in tables])) for name in tables[0]}
