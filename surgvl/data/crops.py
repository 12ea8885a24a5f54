"""Random crops: rectangles of a picture of height H and width W, drawn by torch's generator on the host."""

import math

import torch
from torch import Tensor

from surgvl.data.augment_config import AugmentConfig
from surgvl.video.content_area import Box

TRIES = 10


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
