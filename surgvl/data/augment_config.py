"""How training clips vary from draw to draw: settings of `surgvl.data.augment.Augment`, without torch."""

from dataclasses import dataclass

from surgvl.core.checks import check_choice, check_range
from surgvl.core.errors import ConfigError

CROPS = ("none", "random", "random_resized", "multi_scale")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random crops, flips, shifts and colours of training clips, alike for all frames of a clip and for its teachers.

    Args:
        crop: part of the picture that is resized to the encoder's square. none: all of it, whatever its shape. random:
            a square of fixed size anywhere. random_resized: a rectangle of random area and aspect ratio anywhere (arXiv
            1409.4842). multi_scale: sides drawn from `scales`, at most one entry apart, at one of 13 fixed positions
            (arXiv 1507.02159).
        side: of random: side of the square, as a fraction of the picture's short side.
        area: of random_resized: smallest and largest area, as fractions of the picture's.
        aspect: of random_resized: smallest and largest width / height.
        scales: of multi_scale: sides, as fractions of the picture's short side, in descending order.
        picture_aspect: width / height of the picture that crops are taken from; 1 squashes it to a square, 0 keeps
            that of each video.
        read_px: side of the square that frames are read and cached at, which sets how sharp crops are, and the size of
            the cache; by default the encoder's.
        shift: maximum shift in either direction, as a fraction of the side; the border is replicated.
        gain: maximum change of brightness, log scale.
        colour: maximum change of a single channel, log scale.
        flip: flip half of the clips horizontally; sentences and answers name left and right.
        rand_augment: number of operations of RandAugment (arXiv 1909.13719) on each clip, before its crop; 0: none.
        rand_magnitude: strength of these operations, 0 to 10.
        erase: probability that noise fills a rectangle of a clip (arXiv 1708.04896).
    """

    crop: str = "none"
    side: float = 0.875
    area: tuple[float, float] = (0.3, 1.0)
    aspect: tuple[float, float] = (0.75, 1.35)
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    picture_aspect: float = 1.0
    read_px: int | None = None
    shift: float = 0.08
    gain: float = 0.15
    colour: float = 0.05
    flip: bool = False
    rand_augment: int = 0
    rand_magnitude: int = 7
    erase: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: the crop is unknown, or a number or a range is out of bounds.
        """
        check_choice("--augmentation.crop", self.crop, CROPS)
        if not self.scales:
            raise ConfigError("--augmentation.scales must hold at least one fraction, got none")
        for name, values in (("side", (self.side,)), ("area", self.area), ("scales", self.scales)):
            for value in values:
                check_range(f"--augmentation.{name}", value, 0.01, 1)
        for name, (low, high) in (("area", self.area), ("aspect", self.aspect)):
            if low > high:
                raise ConfigError(f"--augmentation.{name} must be [smallest, largest], got [{low:g}, {high:g}]")
        for ratio in self.aspect:
            check_range("--augmentation.aspect", ratio, 0.1, 10)
        if self.picture_aspect:
            check_range("--augmentation.picture_aspect", self.picture_aspect, 0.1, 10)
        if self.read_px is not None:
            check_range("--augmentation.read_px", self.read_px, 1, 4096)
        check_range("--augmentation.shift", self.shift, 0, 1)
        check_range("--augmentation.gain", self.gain, 0, 10)
        check_range("--augmentation.colour", self.colour, 0, 10)
        check_range("--augmentation.rand_augment", self.rand_augment, 0)
        check_range("--augmentation.rand_magnitude", self.rand_magnitude, 0, 10)
        check_range("--augmentation.erase", self.erase, 0, 1)

    @property
    def per_video(self) -> bool:
        """Whether crops depend on the aspect ratio of each video."""
        return self.crop != "none" and self.picture_aspect == 0
