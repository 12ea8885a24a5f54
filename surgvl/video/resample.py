"""Frames of any number and size -> frames as a model takes them.

Shapes: T frames that came, N frames that the model takes, S their side in pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError


def fit(frames: NDArray[np.uint8], num_frames: int, size_px: int) -> NDArray[np.uint8]:
    """Resample frames in time (evenly, the nearest one) and in size (by area); what fits already stays as it is.

    Args:
        frames: uint8 [T, H, W, 3].
        num_frames: N.
        size_px: S.

    Returns:
        uint8 [N, S, S, 3].

    Raises:
        DataError: these are not frames.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise DataError(f"frames have shape {frames.shape} and type {frames.dtype}; give uint8 [T, H, W, 3]")
    kept = np.linspace(0, len(frames) - 1, num_frames).round().astype(int)
    if frames.shape[1:3] == (size_px, size_px):
        same: NDArray[np.uint8] = frames[kept]
        return same
    size = (size_px, size_px)
    small = {i: cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in dict.fromkeys(kept.tolist())}
    return np.stack([small[i] for i in kept.tolist()]).astype(np.uint8, copy=False)
