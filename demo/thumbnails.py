"""Single frames of videos as JPEG."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from surgvl import video


def frame_jpeg(path: Path, time_s: float, height_px: int) -> bytes:
    """The frame at a time as JPEG, with the aspect ratio of the video.

    Raises:
        DataError: the file cannot be read at that time.
    """
    with video.VideoReader(path) as reader:
        info = reader.info
        width_px = max(1, round(height_px * info.width_px / info.height_px))
        square = reader.read(time_s, time_s, 1.0, max(width_px, height_px))[0]
    return encode_jpeg(cv2.resize(square, (width_px, height_px), interpolation=cv2.INTER_AREA).astype(np.uint8))


def encode_jpeg(image: NDArray[np.uint8], quality: int = 88) -> bytes:
    """JPEG of an RGB image uint8 [H, W, 3]."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    assert done
    return bytes(data)
