"""Array types, and softmax; shapes are in the docstrings of the functions that use them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]


def softmax(scores: NDArray[np.floating], scale: float = 1.0) -> NDArray[Any]:
    """exp(scale * score) / sum over the last axis, [..., C] of the floating type of `scores` [..., C].

    The maximum is subtracted first, so no score overflows.
    """
    powers = np.exp(scale * (scores - scores.max(-1, keepdims=True)))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
