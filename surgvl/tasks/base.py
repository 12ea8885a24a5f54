"""The contract of a benchmark task: predictions in, results out. No model is involved: same predictions, same score.

A task holds the truth, row by row, and scores `Scores` (a number for each clip and class), `Answers` (a string for
each question), `Numbers` or `Boxes`. Shape letters: N rows, C classes, V videos, R draws of videos.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError
from surgvl.core.results import Result, Statistic, bootstrap
from surgvl.metrics.answer import LabelledQuestion
from surgvl.metrics.detection import Boxes
from surgvl.metrics.relaxed import Mode
from surgvl.tasks.answers import Answers
from surgvl.tasks.boxes import LabelledBoxes
from surgvl.tasks.numbers import LabelledNumbers, Numbers

NUM_RANDOM = 5


@dataclass(frozen=True)
class Scores:
    """A score for each clip and class.

    Attributes:
        video_ids: [N].
        times_s: float [N], the seconds that the clips stand for.
        scores: float [N, C]; any real numbers, higher is more likely.
        class_names: [C].

    Raises:
        DataError: no rows, different lengths, a repeated class name, a value that is not finite, or a repeated (video,
            time).
    """

    video_ids: Sequence[str]
    times_s: Float64Array
    scores: NDArray[np.floating]
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        shape = (len(self.video_ids), len(self.class_names))
        if not len(self.video_ids):
            raise DataError("no predictions to score: check the split, and that the vectors belong to this manifest")
        if self.scores.shape != shape or self.times_s.shape != shape[:1]:
            raise DataError(
                f"scores must be [{shape[0]} clips, {shape[1]} classes] and times [{shape[0]}], got "
                f"{list(self.scores.shape)} and {list(self.times_s.shape)}"
            )
        if len(set(self.class_names)) != shape[1]:
            raise DataError(f"class names must be unique, got {list(self.class_names)}")
        if not (np.isfinite(self.scores).all() and np.isfinite(self.times_s).all()):
            raise DataError("scores and times must be finite: check the model behind them")
        order = self.order
        again = (np.diff(self.videos[order]) == 0) & (np.diff(self.times_s[order]) == 0)
        if again.any():
            row = order[int(again.argmax())]
            where = f"{self.video_ids[row]} at {self.times_s[row]} s"
            raise DataError(f"two predictions for {where}: embed the video again")

    @cached_property
    def _codes(self) -> tuple[list[str], Int64Array]:
        names, codes = np.unique(np.asarray(self.video_ids, np.str_), return_inverse=True)
        return names.tolist(), codes.astype(np.int64)

    @property
    def video_names(self) -> list[str]:
        """Unique video ids [V], sorted."""
        return self._codes[0]

    @property
    def videos(self) -> Int64Array:
        """Index of each row's video in `video_names`, int64 [N]."""
        return self._codes[1]

    @cached_property
    def order(self) -> Int64Array:
        """Order of rows by video, then time; tasks work in it, so that the given order does not matter."""
        found: Int64Array = np.lexsort((self.times_s, self.videos))
        return found


@dataclass(frozen=True)
class LabelledScores:
    """Scores and labels of the clips of those videos that share a prompt set or a list of classes.

    Attributes:
        scores: of N clips.
        labels: class names of each clip, [N] lists.
        training_seconds: seconds of each class in the training split of the same data sets; empty if there is none.
        protocol: description of labels and scores.
        data: sources of the videos, if those of other sources are scored separately; otherwise empty.
        rate_fps: clips per second of video.
        hard: whether the scores are decisions, 1 or 0.
        raters: for each rater, the class names that they gave each clip, [N]; None where they did not look.
        by_text: whether the scores are similarities with sentences, which are no probabilities, whatever their range.
    """

    scores: Scores
    labels: list[list[str]]
    training_seconds: Mapping[str, float]
    protocol: str
    data: str = ""
    rate_fps: float = 1.0
    hard: bool = False
    raters: Sequence[Sequence[list[str] | None]] = ()
    by_text: bool = False


class Inputs(ABC):
    """The inputs of `surgvl eval`, from which a task takes what it needs.

    Attributes:
        window_s: window for smoothing scores over time, seconds.
        causal: whether to smooth over the past only.
        relaxed: rule of relaxed boundaries to score phases with as well; empty for none.
        seed: of random draws.
        by_text: whether classes are scored by their sentences.
    """

    window_s: float
    causal: bool
    relaxed: Mode | Literal[""]
    seed: int
    by_text: bool

    @abstractmethod
    def clips(self, kind: str) -> list[LabelledScores]:
        """Scores and labels of a kind (`phase`, `triplet`, ...), one entry for each prompt set or list of classes.

        Raises:
            Unavailable: there are no inputs for this kind.
            DataError: there are labels but no prompt set for them.
        """

    def numbers(self, kind: str) -> list[LabelledNumbers]:
        """Numbers and labels of videos of a kind (`skill`), for each part that is predicted; `Unavailable` if none."""
        raise Unavailable(f"{kind} needs --predictions of a number for each video")

    def boxes(self, kind: str) -> list[LabelledBoxes]:
        """True and predicted boxes of a kind (`triplet_box`), one entry for each list of classes; or `Unavailable`."""
        raise Unavailable(f"{kind} needs --predictions of boxes")

    @abstractmethod
    def answers(self) -> list[tuple[Answers, str]]:
        """Answers of each mode, with their description for the protocol.

        Raises:
            Unavailable: there are none.
        """

    @abstractmethod
    def training_questions(self) -> Counter[LabelledQuestion]:
        """How often each question of the training split has each answer."""


class Unavailable(DataError):
    """The inputs lack what a task needs."""


P = TypeVar("P", Scores, Answers, Numbers, Boxes)


class Task(ABC, Generic[P]):
    """A benchmark task.

    Attributes:
        name: public name, equal to the file's.
        version: incremented when the same predictions would score differently.
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
        """Build the task from the inputs of `surgvl eval`, with the predictions to score.

        Raises:
            Unavailable: the inputs lack what the task needs.
        """

    @abstractmethod
    def score(self, predictions: P) -> list[Result]:
        """Score predictions.

        Raises:
            DataError: they do not match the truth.
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
        video_names: Sequence[str] = (),
    ) -> Result:
        """A result with its interval, by a bootstrap over videos, and its value for each of the videos [V] if named."""
        found, by_video = bootstrap(statistic, num_videos, seed, bounds), {}
        if video_names:
            with np.errstate(invalid="ignore", divide="ignore"):  # a video may lack what the score needs
                by_video = dict(zip(video_names, statistic(np.eye(num_videos)).tolist(), strict=True))
        return Result(
            task=self.name,
            metric=metric,
            value=found.value,
            low=found.low,
            high=found.high,
            num_videos=num_videos,
            num_clips=num_clips,
            baselines=dict(baselines),
            protocol=protocol,
            per_class=per_class,
            data=self.data,
            by_video=by_video,
            drawn=tuple(found.drawn.tolist()),
        )


def point_estimate(statistic: Statistic, num_videos: int) -> float:
    """A statistic over all videos, each counted once."""
    return float(statistic(np.ones((1, num_videos)))[0])


def named(values: Float64Array, names: Sequence[str]) -> dict[str, float]:
    """Scores [C] by class name, without classes that have none."""
    return {name: float(value) for name, value in zip(names, values, strict=True) if np.isfinite(value)}


def means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each entry over several tables."""
    return {name: float(np.mean([table[name] for table in tables])) for name in tables[0]}
