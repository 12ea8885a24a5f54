"""What zero-shot classification says of a window of a video."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """A zero-shot class of a window of a video.

    Attributes:
        start_s: start of the window.
        end_s: its end.
        name: of the class.
        cosine: between the window's vector and the class vector.
        probability: softmax over all classes of the cosines times the model's logit scale.
    """

    start_s: float
    end_s: float
    name: str
    cosine: float
    probability: float
