"""Scores as probabilities. Shapes: C classes or answers on the last axis."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(scores: NDArray[np.floating], scale: float = 1.0) -> NDArray[Any]:
    """exp(scale * score) / sum over the last axis, [..., C] of the floating type of `scores` [..., C].

    The maximum is subtracted first, so no score overflows.
    """
    powers = np.exp(scale * (scores - scores.max(-1, keepdims=True)))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
