"""A folder of numbered images as a video, as Cholec80, CholecT50 and PitVQA distribute frames; or a single image."""

import itertools
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from surgvl.core.errors import DataError
from surgvl.video.content_area import Box, Image
from surgvl.video.file import VideoInfo
from surgvl.video.geometry import Geometry

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def image_number(path: Path) -> int:
    """The last number in an image's name."""
    return int(re.findall(r"\d+", path.stem)[-1])


def sorted_images(folder: Path) -> list[Path]:
    """The images of a folder, sorted by the last number in their names.

    Raises:
        DataError: there is no image, a name has no number, or two have the same.
    """
    by_number: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise DataError(f"{path} has no number in its name, so its position is unknown: number it or move it away")
        if other := by_number.get(int(digits[-1])):
            raise DataError(f"{path} and {other.name} have the same number {int(digits[-1])}: move one away")
        by_number[int(digits[-1])] = path
    if not by_number:
        raise DataError(
            f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}): give a video file or a folder of images"
        )
    return [by_number[number] for number in sorted(by_number)]


class ImageFolder:
    """Numbered images, shown one after the other at a constant rate.

    Args:
        folder: the folder, whose images are sorted by the last number in the name and shown without gaps; or one image,
            which is shown for 1 / fps seconds.
        fps: images per second of the operation; frame folders of the public data sets have one.
    """

    def __init__(self, folder: Path, fps: float = 1.0) -> None:
        if not 0 < fps < math.inf:
            raise DataError(f"{folder}: fps must be > 0 images per second, got {fps}")
        self.path = folder
        self.images = [folder] if folder.is_file() else sorted_images(folder)
        height, width = self._load(0).shape[:2]
        number = len(self.images)
        self.info = VideoInfo(folder, number / fps, fps, width, height, 0, number, self.images[0].suffix[1:].lower())

    def _load(self, index: int) -> Image:
        path = self.images[index]
        try:
            with Pillow.open(path) as picture:
                # Cameras store a picture as the sensor recorded it, and the rotation for display in its EXIF data.
                return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
        except (OSError, SyntaxError, ValueError, struct.error) as error:
            raise DataError(f"{path} cannot be read as an image ({error}): copy it again") from error

    def samples(
        self, start_s: float, fps: float, count: int | None, hold: bool, geometry: Geometry, crop: Box | None
    ) -> Iterator[tuple[float, Image]]:
        """See `surgvl.video.file.VideoFile.samples`."""
        last = -1
        image: Image = np.empty((0, 0, 3), np.uint8)
        for number in itertools.count() if count is None else range(count):
            time_s = start_s + number / fps
            index = math.floor(time_s * self.info.fps + 1e-6)
            if index >= len(self.images):
                if not hold or last < 0:
                    break
                index = len(self.images) - 1
            if index != last:
                image, last = geometry.apply(self._load(index), crop, self.images[index]), index
            yield time_s, image.copy()
        if last < 0:
            raise DataError(f"{self.path} ends at {self.info.duration_s:.2f} s: start_s {start_s:.2f} is past the end")

    def near(self, time_s: float) -> Image:
        """See `surgvl.video.file.VideoFile.near`."""
        return self._load(min(math.floor(time_s * self.info.fps), len(self.images) - 1))

    def close(self) -> None:
        """Nothing is held open."""
