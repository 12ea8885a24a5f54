"""Augmentation of batches on the device, uint8 in and float in 0..255 out; all frames of a clip change alike.

Crops follow each method's own code. Brightness and colour vary because they differ between scopes and hospitals.
Frames are read as squares, whatever the shape of their picture. A crop is therefore drawn on a picture with the wanted
aspect ratio, found on the square, and resized from there, which restores its shape.
Crops, shifts and flips are drawn on the host, so that nothing is read from the device; colours are drawn there.

RandAugment (arXiv 1909.13719) and random erasing (arXiv 1708.04896) are torchvision's. VideoMAE's and SurgVISTA's
fine-tuning calls `rand-m7-n4-mstd0.5-inc1` of timm's: there each drawn operation is skipped half of the time, its
magnitude has a deviation of 0.5, inverting and adding while solarising are among them, and noise is drawn for each
frame.
Shapes: B clips, T frames, R pixels read, S pixels given to the encoder; H x W pixels of a picture.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import DataError
from surgvl.data.augment_config import AugmentConfig
from surgvl.video.content_area import Box

TRIES = 10
# Magnitudes are out of this.
LARGEST = 10
_GREY = 128
# Of erased pixels: mean and deviation of those of ImageNet, in 0..255.
_MEAN, _STD = 114.0, 58.0
_AREA, _ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)


class Augment(nn.Module):
    """RandAugment, random crop, shift, flip, gain, channel colour and random erasing of clips, in this order.

    Args:
        config: what varies, and by how much.
        size_px: S; None: pictures keep their own size and aspect ratio, and nothing is cropped.
    """

    def __init__(self, config: AugmentConfig, size_px: int | None):
        super().__init__()
        self.config, self.size_px = config, size_px

    def forward(self, video: Tensor, aspects: Sequence[float] | None = None) -> Tensor:
        """Augment uint8 [B, 3, T, R, R] -> float32 [B, 3, T, S, S] in 0..255.

        Args:
            video: clips.
            aspects: width / height of each clip's picture, [B]; needed where `config.per_video`.

        Raises:
            DataError: crops depend on the aspect ratios and there are none.
        """
        if self.config.rand_augment:
            video = rand_augment(video, self.config.rand_augment, self.config.rand_magnitude)
        if self.size_px is not None and (self.config.crop != "none" or video.shape[-1] != self.size_px):
            video = torch.stack(list(map(self._cropped, video, self._boxes(video, aspects))))
        video = self._coloured(self._moved(video))
        return erase(video, self.config.erase) if self.config.erase else video

    def _boxes(self, video: Tensor, aspects: Sequence[float] | None) -> list[Box]:
        """A crop for each clip, in pixels of its frames."""
        B, R = len(video), video.shape[-1]
        ratios: Sequence[float] = [self.config.picture_aspect or 1.0] * B
        if self.config.per_video:
            if aspects is None:
                raise DataError("--augmentation.picture_aspect 0 needs the aspect ratio of each video: give a ratio")
            ratios = aspects
        boxes = []
        for aspect in ratios:
            height, width = max(R, round(R / aspect)), max(R, round(R * aspect))
            boxes.append(_scaled(draw_crop(self.config, height, width), R / height, R / width))
        return boxes

    def _cropped(self, clip: Tensor, box: Box) -> Tensor:
        """Resize a part of uint8 [3, T, R, R] -> float32 [3, T, S, S]."""
        assert self.size_px is not None
        part = clip[:, :, box.top : box.bottom, box.left : box.right].float()
        return F.interpolate(part, (self.size_px, self.size_px), mode="bilinear", antialias=True)

    def _moved(self, video: Tensor) -> Tensor:
        """Shift and flip [B, 3, T, H, W]: squares, but for a model that takes frames at their own aspect ratio."""
        B, (height, width) = len(video), video.shape[-2:]
        reach = round(self.config.shift * max(height, width))
        if not reach and not self.config.flip:
            return video
        offsets = torch.randint(0, 2 * reach + 1, (B, 2)) - reach if reach else torch.zeros(B, 2, dtype=torch.int64)
        mirrored = torch.rand(B) < 0.5 if self.config.flip else torch.zeros(B, dtype=torch.bool)
        # Gather rows and columns before colours: what was not resized is still bytes, a quarter of the traffic.
        rows = (torch.arange(height) + offsets[:, :1]).clamp(0, height - 1)
        columns = (torch.arange(width) + offsets[:, 1:]).clamp(0, width - 1)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        taken = zip(video, rows.to(video.device), columns.to(video.device), strict=True)
        return torch.stack([clip.index_select(2, row).index_select(3, column) for clip, row, column in taken])

    def _coloured(self, video: Tensor) -> Tensor:
        """Change gain and colour of [B, 3, T, S, S] -> float32."""
        gain, colour = self.config.gain, self.config.colour
        if not gain and not colour:
            return video.float()
        scale = torch.empty(len(video), 3, device=video.device).uniform_(-colour, colour)
        scale += torch.empty(len(video), 1, device=video.device).uniform_(-gain, gain)
        return (video * scale.exp()[:, :, None, None, None]).clamp_(0.0, 255.0)


def _scaled(box: Box, down: float, across: float) -> Box:
    """A box in a picture that is scaled in both directions; at least a pixel remains."""
    bottom, right = max(1, round(box.bottom * down)), max(1, round(box.right * across))
    return Box(min(round(box.top * down), bottom - 1), min(round(box.left * across), right - 1), bottom, right)


# ---- random crops: rectangles of a picture of height H and width W


def draw_crop(config: AugmentConfig, height: int, width: int) -> Box:
    """A rectangle of a picture, by `config.crop`."""
    if config.crop == "random":
        return random_crop(height, width, config.side)
    if config.crop == "random_resized":
        return random_resized_crop(height, width, config.area, config.aspect)
    if config.crop == "multi_scale":
        sizes = multi_scale_sizes(height, width, config.scales)
        positions = multi_scale_positions(height, width, *sizes[_below(len(sizes))])
        return positions[_below(len(positions))]
    return Box(0, 0, height, width)


def random_crop(height: int, width: int, side: float) -> Box:
    """A square anywhere; its side is a fraction of the picture's short one."""
    pixels = max(1, round(side * min(height, width)))
    return _box(_below(height - pixels + 1), _below(width - pixels + 1), pixels, pixels)


def random_resized_crop(height: int, width: int, area: tuple[float, float], aspect: tuple[float, float]) -> Box:
    """A rectangle of uniform area and log-uniform aspect ratio anywhere: the crop of Inception (arXiv 1409.4842).

    Draws are those of torchvision's `RandomResizedCrop`, in its order. If ten rectangles do not fit, it is the largest
    centred one of an allowed aspect ratio.
    """
    low, high = torch.log(torch.tensor(aspect, dtype=torch.float32)).tolist()
    for _ in range(TRIES):
        pixels = height * width * _uniform(*area).item()
        ratio = torch.exp(_uniform(low, high)).item()
        across, down = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < across <= width and 0 < down <= height:
            return _box(_below(height - down + 1), _below(width - across + 1), down, across)
    ratio = min(max(width / height, aspect[0]), aspect[1])
    across, down = min(width, round(height * ratio)), min(height, round(width / ratio))
    return _box((height - down) // 2, (width - across) // 2, down, across)


def multi_scale_sizes(height: int, width: int, scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """Heights and widths of multi-scale crops: pairs of scales of the short side that are at most one entry apart.

    As VideoMAE and SurgVISTA crop, after temporal segment networks (arXiv 1507.02159).
    """
    sides = [max(1, int(min(height, width) * scale)) for scale in scales]
    near = ((i, j) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= 1)
    return [(sides[i], sides[j]) for i, j in near]


def multi_scale_positions(height: int, width: int, down: int, across: int) -> list[Box]:
    """The 13 positions of a crop: corners, centre, middles of the edges, and centres of the quarters between them.

    On a lattice of five by five, those whose row and column are both even or both odd.
    """
    row, column = (height - down) // 4, (width - across) // 4
    return [_box(i * row, j * column, down, across) for i in range(5) for j in range(5) if (i + j) % 2 == 0]


def _box(top: int, left: int, down: int, across: int) -> Box:
    return Box(top, left, top + down, left + across)


def _uniform(low: float, high: float) -> Tensor:
    # In half precision, a model's default type while it trains, few sizes would be left.
    return torch.empty(1, dtype=torch.float32).uniform_(low, high)


def _below(count: int) -> int:
    return int(torch.randint(0, count, (1,)))


# ---- strong augmentation, as of fine-tuning


def rand_augment(video: Tensor, num_operations: int, magnitude: int) -> Tensor:
    """Apply random operations of a fixed strength to uint8 [B, 3, T, H, W].

    Args:
        video: clips.
        num_operations: one after the other, drawn for each clip.
        magnitude: of all, 0 to `LARGEST`.
    """
    # Imported here because torchvision's import takes as long as a small command.
    from torchvision.transforms.v2 import InterpolationMode, RandAugment

    policy = RandAugment(num_operations, magnitude, LARGEST + 1, InterpolationMode.BILINEAR, fill=_GREY)
    # torchvision takes frames first, and draws once for all of them.
    return torch.stack([policy(clip.transpose(0, 1)).transpose(0, 1) for clip in video])


def erase(video: Tensor, probability: float) -> Tensor:
    """Fill a random rectangle of some of the clips with noise; float32 [B, 3, T, H, W] in 0..255, changed in place."""
    from torchvision.transforms import RandomErasing

    height, width = video.shape[-2:]
    shape = torch.empty(3, height, width, device="meta")
    for clip in video:
        if torch.rand(()) < probability:
            top, left, down, across, noise = RandomErasing.get_params(shape, _AREA, _ASPECT)
            if (down, across) == (height, width):  # no rectangle fits
                continue
            filled = (noise * _STD + _MEAN).clamp(0, 255).to(video.device)
            clip[:, :, top : top + down, left : left + across] = filled[:, None]
    return video
