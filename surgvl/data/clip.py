"""The clip as training and evaluation see it."""

from typing import NotRequired, TypedDict

from torch import Tensor


class Clip(TypedDict):
    """A segment of a video as training sees it; a batch holds lists, and videos stacked to [B, 3, T, H, W].

    Attributes:
        video: uint8 [3, T, H, W].
        video_id: its video.
        start_s: seconds of the source file.
        end_s: one frame after the last one shown.
        aspect: width / height of the picture that its frames show as squares.
        text: sentences spoken over it.
        labels: task -> labels.
        question: about it.
        answer: to the question.
    """

    video: Tensor
    video_id: str
    start_s: float
    end_s: float
    aspect: NotRequired[float]
    text: NotRequired[list[str]]
    labels: NotRequired[dict[str, list[str]]]
    question: NotRequired[str]
    answer: NotRequired[str]
