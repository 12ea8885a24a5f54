"""How a picture becomes a frame of the size that a model takes.

Published models differ in it: SigLIP squashes the picture to a square, CLIP and SurgVLP cut the centre out of it,
vision-language models keep its aspect ratio. Interpolation is antialiased as Pillow does it, on whose pixels most of
these models were trained; `area` averages the source pixels that a target pixel covers.
Shapes: H, W height and width in pixels of a picture as displayed, S side of a square frame.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image as Pillow

from surgvl.core.errors import DataError
from surgvl.video.content_area import Box, Image

Kind = Literal["squash", "crop", "letterbox", "fit"]
KINDS = ("squash", "crop", "letterbox", "fit")
Interpolation = Literal["area", "bilinear", "bicubic"]
INTERPOLATIONS = ("area", "bilinear", "bicubic")
FILTERS = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}


@dataclass(frozen=True)
class Geometry:
    """The size of a frame and the way from a picture to it.

    Args:
        size_px: side S of the frame, or for `fit` its longer side at most.
        kind: `squash`: the whole picture is scaled to the square; `crop`: it is scaled so that its shorter side is S,
            or to `resize_px`, and the centre square is cut out; `letterbox`: its longer side becomes S, and the rest of
            the square is black; `fit`: the same without the black, and smaller pictures are not enlarged, so that
            frames need not be square.
        resize_px: height and width before the centre of `crop` is cut out; 0, 0 for none.
        interpolation: of the scaling.
    """

    size_px: int
    kind: Kind = "squash"
    resize_px: tuple[int, int] = (0, 0)
    interpolation: Interpolation = "area"

    @property
    def is_plain(self) -> bool:
        """Whether the whole picture is scaled to a square by area averaging, which a decoder can do."""
        return self.kind == "squash" and self.interpolation == "area"

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture of H x W is scaled to, before anything is cut off or added."""
        size = self.size_px
        if self.kind == "squash":
            return size, size
        if self.kind == "crop" and any(self.resize_px):
            return self.resize_px
        # Rounded down, as torchvision's Resize does.
        if self.kind == "crop":
            return (size, size * width // height) if height <= width else (size * height // width, size)
        if self.kind == "fit" and max(height, width) <= size:
            return height, width
        if height <= width:
            return max(1, round(size * height / width)), size
        return size, max(1, round(size * width / height))

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frame of a picture of H x W."""
        return self.scaled(height, width) if self.kind == "fit" else (self.size_px, self.size_px)

    def aspect(self, height: int, width: int) -> float:
        """Width / height of the part of a picture of H x W that a square frame shows: 1 for what is not distorted."""
        down, across = (1, 1) if self.kind in ("letterbox", "fit") else self.scaled(height, width)
        return (width / across) / (height / down) if self.kind in ("squash", "crop") else 1.0

    def apply(self, picture: Image, box: Box | None = None, source: Path | str = "frames") -> Image:
        """The frame of a picture, or of a part of it.

        Args:
            picture: uint8 [H, W, 3].
            box: the part to take.
            source: of the picture, for the message.

        Returns:
            uint8 [S, S, 3], or [h, w, 3] for `fit`.

        Raises:
            DataError: the box is empty or not within the picture.
        """
        height, width = picture.shape[:2]
        if box is not None:
            if not (0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width):
                raise DataError(
                    f"{source}: {box} is not within its {width}x{height} px picture: take a box from content_box"
                )
            picture = picture[box.top : box.bottom, box.left : box.right]
            height, width = picture.shape[:2]
        down, across = self.scaled(height, width)
        if self.interpolation == "area":
            frame: Image = np.asarray(cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA), np.uint8)
        else:
            frame = np.asarray(Pillow.fromarray(picture).resize((across, down), FILTERS[self.interpolation]))
        return frame if self.kind in ("squash", "fit") else self._square(frame)

    def _square(self, picture: Image) -> Image:
        """The centre square of a picture; where that is smaller, the rest is black."""
        height, width = picture.shape[:2]
        size = self.size_px
        # torchvision's CenterCrop rounds halves to even.
        top, left = round(max(0, height - size) / 2), round(max(0, width - size) / 2)
        part = picture[top : top + size, left : left + size]
        if part.shape[:2] == (size, size):
            return np.ascontiguousarray(part)
        square = np.zeros((size, size, 3), np.uint8)
        above, before = (size - part.shape[0]) // 2, (size - part.shape[1]) // 2
        square[above : above + part.shape[0], before : before + part.shape[1]] = part
        return square


def geometry_of(size: int | Geometry) -> Geometry:
    """The geometry itself, or the plain one of a side in pixels."""
    return size if isinstance(size, Geometry) else Geometry(size)
