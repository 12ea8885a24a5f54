"""What an engine gives to the page: plain data, no models, and no paths that a browser could ask for.

Times are seconds of the source video. Shapes: T frames of a clip [T, H, W, 3], N steps of a timeline.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surgvl.core.results import Result
from surgvl.retrieval.moments import Moment, SearchResults

__all__ = [
    "AnswerCard",
    "Download",
    "ModelCard",
    "Moment",
    "SearchResults",
    "Timeline",
    "TrainingStage",
    "TripletRow",
    "Video",
]


@dataclass(frozen=True)
class Video:
    """A video that can be picked: one of the run, or an upload of this session.

    Attributes:
        video_id: its name for a browser; a random one for an upload.
        path: file or folder of images; never sent to a browser.
        title: shown to people.
        split: `train`, `val`, `test`; `upload` for an upload.
        duration_s: its duration.
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
class AnswerCard:
    """An answer about one clip, with everything shown next to it.

    Attributes:
        question: as the model received it.
        text: the answer.
        closed: whether it was chosen from known answers; otherwise it is free text.
        num_known: number of known answers.
        probabilities: most likely known answers with their probabilities, in descending order; empty for free text.
        ground_truth: the manifest's answer at this moment; empty if it has none.
        video_id: the video.
        title: title of the video.
        at_s: the moment asked about.
        frames: what the model saw, uint8 [T, H, W, 3].
        times_s: time of each frame.
        elapsed_s: from question to answer.
        is_upload: whether the video is an upload.
        damage: how many of the decoded frames are damaged, in words; empty if none are.
        problem: why there is no answer, where a general model says so or its reply is none; empty if there is one.
    """

    question: str
    text: str
    closed: bool
    num_known: int
    probabilities: list[tuple[str, float]]
    ground_truth: str
    video_id: str
    title: str
    at_s: float
    frames: NDArray[np.uint8]
    times_s: list[float]
    elapsed_s: float
    is_upload: bool = False
    damage: str = ""
    problem: str = ""


@dataclass(frozen=True)
class TripletRow:
    """One triplet over time.

    Attributes:
        name: class name.
        probabilities: float64 [N], softmax over all triplets.
        ground_truth: (start_s, end_s) of its labelled segments.
    """

    name: str
    probabilities: NDArray[np.float64]
    ground_truth: list[tuple[float, float]]


@dataclass(frozen=True)
class Timeline:
    """Zero-shot phases and triplets of a video.

    Attributes:
        video_id: the video.
        title: title of the video.
        duration_s: its duration.
        edges_s: float64 [N + 1], where steps begin and end.
        phases: class names.
        predicted: int64 [N], phase of each step.
        probabilities: float64 [N], softmax probability of that phase.
        ground_truth: int64 [N], -1 for unlabelled steps; None if the video has no phase labels.
        triplets: triplets with the highest mean probability.
        smooth_s: window of the moving average over the scores.
        phase_set: prompt set of the phases; empty if the timeline cannot be exported.
        triplet_set: prompt set of the triplets.
    """

    video_id: str
    title: str
    duration_s: float
    edges_s: NDArray[np.float64]
    phases: list[str]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    ground_truth: NDArray[np.int64] | None
    triplets: list[TripletRow]
    smooth_s: float
    phase_set: str = ""
    triplet_set: str = ""

    @property
    def agreement(self) -> float | None:
        """Fraction of labelled steps whose phase is right; None without labels."""
        if self.ground_truth is None or not (labelled := self.ground_truth >= 0).any():
            return None
        return float((self.predicted == self.ground_truth)[labelled].mean())


@dataclass(frozen=True)
class TrainingStage:
    """One training stage: its name, what it does, and facts in the order in which they are shown."""

    name: str
    purpose: str
    facts: dict[str, str]


@dataclass(frozen=True)
class ModelCard:
    """Data, training and scores of the models behind the page.

    Attributes:
        run: name of the run folder.
        splits: number of videos and their hours by split, without unreadable ones.
        sources: (data set, licence) of the videos.
        stages: training stages in order.
        results: scores of the model.
        control: the same scores of the control.
        num_rendered: number of rendered videos.
        num_unreadable: number of videos that could not be read.
        trained_on: kind of training data, such as `rendered videos`; empty if unknown.
    """

    run: str
    splits: dict[str, tuple[int, float]]
    sources: list[tuple[str, str]]
    stages: list[TrainingStage]
    results: list[Result]
    control: list[Result]
    num_rendered: int = 0
    num_unreadable: int = 0
    trained_on: str = ""


@dataclass(frozen=True)
class Download:
    """A file for a browser to save: its name, its content type, its bytes."""

    name: str
    content_type: str
    content: bytes
