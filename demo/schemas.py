"""What an engine gives to the page: plain data, no models, no paths that a browser could ask for.

Times are seconds of the source video. Shapes: T frames of a clip, N steps of a timeline.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surgvl.core.results import Result
from surgvl.retrieval.moments import Found, Moment

__all__ = ["About", "Answer", "Found", "HeatRow", "Moment", "Stage", "Timeline", "Video"]


@dataclass(frozen=True)
class Video:
    """A video that can be picked: one of the run, or an upload of this session.

    Attributes:
        video_id: what a browser names it by; of an upload, a random word.
        path: where it lies; never sent to a browser.
        title: for people.
        split: `train`, `val`, `test`; `upload` for an upload.
        duration_s: length.
        source: data set.
        procedure: name of the operation.
    """

    video_id: str
    path: Path
    title: str
    split: str
    duration_s: float
    source: str = ""
    procedure: str = ""


@dataclass(frozen=True)
class Answer:
    """An answer about one clip.

    Attributes:
        question: as the model got it.
        text: the answer.
        closed: whether it was chosen among known answers; otherwise written freely.
        num_known: how many answers there were to choose from.
        shares: of a closed answer, the likeliest answers with their share of the probability, best first.
        truth: the manifest's answer at this moment; empty where it has none.
        video_id: the video.
        title: of the video.
        at_s: the moment.
        frames: what the model saw, uint8 [T, S, S, 3].
        times_s: time of each frame.
        took_s: from question to answer.
        is_upload: whether the video is not one of the run.
        damage: how many of the frames that were decoded are damaged, in words; empty for none.
    """

    question: str
    text: str
    closed: bool
    num_known: int
    shares: list[tuple[str, float]]
    truth: str
    video_id: str
    title: str
    at_s: float
    frames: NDArray[np.uint8]
    times_s: list[float]
    took_s: float
    is_upload: bool = False
    damage: str = ""


@dataclass(frozen=True)
class HeatRow:
    """One triplet over time: its share among all triplets float64 [N], and the stretches in which it is true."""

    name: str
    shares: NDArray[np.float64]
    truth: list[tuple[float, float]]


@dataclass(frozen=True)
class Timeline:
    """Phases and triplets of a video.

    Attributes:
        video_id: the video.
        title: of the video.
        duration_s: its length.
        edges_s: float64 [N + 1], where steps begin and end.
        phases: class names.
        predicted: int64 [N], class of each step.
        shares: float64 [N], softmax share of that class.
        truth: int64 [N], -1 where the manifest says nothing; None where it has no phase at all.
        rows: most present triplets.
        smooth_s: window of the moving average over the scores.
    """

    video_id: str
    title: str
    duration_s: float
    edges_s: NDArray[np.float64]
    phases: list[str]
    predicted: NDArray[np.int64]
    shares: NDArray[np.float64]
    truth: NDArray[np.int64] | None
    rows: list[HeatRow]
    smooth_s: float

    @property
    def agreement(self) -> float | None:
        """Share of labelled steps whose phase is right; None without labels."""
        if self.truth is None or not (known := self.truth >= 0).any():
            return None
        return float((self.predicted == self.truth)[known].mean())


@dataclass(frozen=True)
class Stage:
    """One training stage: its name, what it does, and facts to show in order."""

    name: str
    purpose: str
    facts: dict[str, str]


@dataclass(frozen=True)
class About:
    """What the model behind the page is.

    Attributes:
        run: name of the run folder.
        splits: number of videos and their hours by split, without those that were set aside.
        sources: of the videos, as (data set, licence).
        stages: how it was trained.
        results: its scores.
        control: the same scores of the control.
        num_rendered: how many of the videos a program drew.
        num_set_aside: videos that could not be read.
        trained_on: what the models learnt from, such as `rendered videos`; empty where that is not known.
    """

    run: str
    splits: dict[str, tuple[int, float]]
    sources: list[tuple[str, str]]
    stages: list[Stage]
    results: list[Result]
    control: list[Result]
    num_rendered: int = 0
    num_set_aside: int = 0
    trained_on: str = ""
