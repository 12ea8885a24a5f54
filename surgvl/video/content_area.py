"""Find the content area of a frame: the picture inside black borders, or the round field of a laparoscope.

The box is the *bounding* box of the lit region. For a round field, that keeps everything the surgeon sees (an inscribed
square would lose more than a third of it), and the dark corners stay. This is the "cut the black margin" of the phase
recognition papers, made robust against overlaid text and dark scenes: a pixel counts as lit if it is bright in any of
the sampled frames, and only the largest lit region counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from surgvl.core.arrays import UInt8Array

Image = UInt8Array
"""uint8 [H, W, 3], RGB."""

DARK = 28
"""Largest channel value of a black border: 16 for video black, and some room for compression noise."""

MIN_SIDE = 0.2
"""A lit region narrower than this fraction of the frame is a lamp or a logo, not the field of view."""

MIN_BORDER = 0.01
"""If all four borders are thinner than this fraction of the side, there is nothing to crop."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows [top, bottom), columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int


def find(pictures: Iterable[Image]) -> Box | None:
    """Find the bounding box of the largest lit region.

    Args:
        pictures: uint8 [H, W, 3] RGB of one size, spread over the video.

    Returns:
        The bounding box of the field of view; None if it fills the frame or nothing is lit.
    """
    brightest: Image | None = None
    for picture in pictures:
        brightest = picture if brightest is None else np.maximum(brightest, picture)
    if brightest is None:
        return None
    # `max(axis=2)` takes ten times as long.
    red, green, blue = np.moveaxis(brightest, 2, 0)
    level = np.maximum(np.maximum(red, green), blue)
    height, width = level.shape
    # Opening with 1 % of the frame removes text, lines and single noisy pixels.
    side = min(height, width) // 200 * 2 + 1
    lit = cv2.morphologyEx((level > DARK).astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    _, _, regions, _ = cv2.connectedComponentsWithStats(lit, connectivity=8)
    if len(regions) < 2:
        return None
    left, top, box_width, box_height, _ = (int(value) for value in max(regions[1:], key=lambda region: region[4]))
    if box_width < MIN_SIDE * width or box_height < MIN_SIDE * height:
        return None
    box = Box(top, left, top + box_height, left + box_width)
    across, down = max(1, MIN_BORDER * width), max(1, MIN_BORDER * height)
    if box.top <= down and height - box.bottom <= down and box.left <= across and width - box.right <= across:
        return None
    return box
