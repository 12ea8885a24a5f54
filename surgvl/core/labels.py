"""What a model says a stretch of a video is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """A class over a stretch of a video, with the model's cosine and its softmax share among the classes."""

    start_s: float
    end_s: float
    name: str
    cosine: float
    share: float
