"""Single frames of videos as JPEG."""

import functools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from surgvl import video


@functools.lru_cache(maxsize=512)
def still(path: Path, time_s: float, height_px: int) -> bytes:
    """The frame shown at a time as JPEG, in the picture's own proportions.

    Raises:
        DataError: the file cannot be read there.
    """
    with video.VideoReader(path) as reader:
        info = reader.info
        width_px = max(1, round(height_px * info.width_px / info.height_px))
        square = reader.read(time_s, time_s, 1.0, max(width_px, height_px))[0]
    return jpeg(cv2.resize(square, (width_px, height_px), interpolation=cv2.INTER_AREA).astype(np.uint8))


def jpeg(picture: NDArray[np.uint8], quality: int = 88) -> bytes:
    """Encode uint8 [H, W, 3] RGB."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    assert done
    return bytes(data)
