"""Where the picture lies inside the frame: black borders and the round field of a laparoscope.

The box is the *bounding* box of what is lit. For a round field that is the circle's bounding rectangle, so that nothing
the surgeon sees is cut away, as everywhere in surgvl (an inscribed square would lose more than a third of the field);
the dark corners stay. It is the "cut the black margin" of the phase recognition papers, made safe against burnt-in text
and dark scenes: pixels count as lit if they ever were in the sampled pictures, and only the largest lit region counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from surgvl.core.errors import DataError

Image = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""uint8 [H, W, 3], RGB."""

DARK = 28
"""Brightest channel of a black border: 16 of video black, and what compression adds to it."""

SMALLEST_SIDE = 0.2
"""A lit region narrower than this part of the frame is a lamp or a logo, not the field of view."""

SMALLEST_BORDER = 0.01
"""Borders thinner than this part of the side, all four, are left alone."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows `top` to `bottom`, columns `left` to `right`, the last ones excluded."""

    top: int
    left: int
    bottom: int
    right: int


def find(pictures: Iterable[Image]) -> Box | None:
    """Find the box around what is lit.

    Args:
        pictures: uint8 [H, W, 3] of one size, RGB, from all over the video.

    Returns:
        The bounding box of the field of view, or None where it fills the frame or nothing is lit.
    """
    brightest: Image | None = None
    for picture in pictures:
        level = picture.max(axis=2)
        brightest = level if brightest is None else np.maximum(brightest, level)
    if brightest is None:
        return None
    height, width = brightest.shape
    # Opening with 1 % of the frame takes off text, lines and single noisy pixels.
    side = min(height, width) // 200 * 2 + 1
    lit = cv2.morphologyEx((brightest > DARK).astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    _, _, regions, _ = cv2.connectedComponentsWithStats(lit, connectivity=8)
    if len(regions) < 2:
        return None
    left, top, box_width, box_height, _ = (int(value) for value in max(regions[1:], key=lambda region: region[4]))
    if box_width < SMALLEST_SIDE * width or box_height < SMALLEST_SIDE * height:
        return None
    box = Box(top, left, top + box_height, left + box_width)
    across, down = max(1, SMALLEST_BORDER * width), max(1, SMALLEST_BORDER * height)
    if box.top <= down and height - box.bottom <= down and box.left <= across and width - box.right <= across:
        return None
    return box


def cut(path: Path, picture: Image, box: Box, size_px: int) -> Image:
    """Scale a part of a picture to a square by area averaging.

    Args:
        path: where the picture comes from, for the message.
        picture: uint8 [H, W, 3].
        box: the part to take.
        size_px: side of the square.

    Returns:
        uint8 [size_px, size_px, 3].

    Raises:
        DataError: the box is empty or does not lie in the picture.
    """
    height, width = picture.shape[:2]
    if not (0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width):
        raise DataError(f"{path}: {box} is not a part of its {width}x{height} picture: take one from content_box")
    part = picture[box.top : box.bottom, box.left : box.right]
    return np.asarray(cv2.resize(part, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)
