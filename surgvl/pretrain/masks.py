"""Masks of masked objectives, as index tensors of equal length within a batch.

Masks are drawn on the host with torch's generator, so that their lengths are known without synchronising with the
device, and then copied. Shapes: B clips, grid (T', H', W'), N = T'*H'*W' tokens in the order time, row, column; K kept,
M masked.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from surgvl.core.errors import ConfigError
from surgvl.models.vit_config import Grid

Device = torch.device | str
TRIMS = ("random", "prefix")
ASPECTS = ("log_uniform", "uniform")
ORDERS = ("circle", "raster")


def one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse an unknown word.

    Raises:
        ConfigError: the value is none of the allowed ones.
    """
    if value not in allowed:
        raise ConfigError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")


def to_device(ids: Tensor, device: Device) -> Tensor:
    """Copy to the device without synchronising."""
    return ids.to(device, non_blocking=True)


def tube(num_clips: int, grid: Grid, ratio: float, device: Device = "cpu") -> tuple[Tensor, Tensor]:
    """Tube masking of VideoMAE (arXiv 2203.12602): the same patches are masked in all time slots.

    Args:
        num_clips: B.
        grid: (T', H', W').
        ratio: masked fraction of a frame's patches; int(ratio * H'W') are masked.
        device: of the result.

    Returns:
        keep int64 [B, K] and hide int64 [B, M], each ascending.

    Raises:
        ConfigError: the ratio masks nothing or everything.
    """
    slots, space = grid[0], grid[1] * grid[2]
    keep, hide = random_split(num_clips, space, ratio)
    offsets = torch.arange(slots)[None, :, None] * space

    def spread(patches: Tensor) -> Tensor:
        return to_device((patches[:, None, :] + offsets).flatten(1), device)

    return spread(keep), spread(hide)


def random(num_clips: int, grid: Grid, ratio: float, device: Device = "cpu") -> tuple[Tensor, Tensor]:
    """Random masking in space and time (MAE, arXiv 2111.06377); arguments and result as in `tube`."""
    keep, hide = random_split(num_clips, math.prod(grid), ratio)
    return to_device(keep, device), to_device(hide, device)


def random_split(num_clips: int, num: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Mask int(ratio * num) of `num` indices at random: kept and masked ones, int64, ascending, on the host.

    Raises:
        ConfigError: the ratio masks nothing or everything.
    """
    num_masked = int(ratio * num)
    if not 0 < num_masked < num:
        raise ConfigError(
            f"the mask ratio must mask some patches and leave others, got {ratio}: {num_masked} of {num} masked"
        )
    order = torch.rand(num_clips, num).argsort(1)
    return order[:, num_masked:].sort(1).values, order[:, :num_masked].sort(1).values


def sample_ratio(ratio: float | Sequence[float]) -> float:
    """A fixed ratio, or one drawn uniformly between two."""
    if isinstance(ratio, float | int):
        return float(ratio)
    low, high = ratio
    return low + (high - low) * float(torch.rand(()))


def multi_block(
    num_clips: int,
    grid: Grid,
    num_blocks: int,
    scale: float,
    aspect: tuple[float, float] = (0.75, 1.5),
    span: float = 1.0,
    trim: str = "random",
    aspect_draw: str = "log_uniform",
    device: Device = "cpu",
) -> tuple[Tensor, Tensor]:
    """Multi-block masking of V-JEPA (arXiv 2404.08471): mask the union of blocks, keep the rest.

    The block size is drawn once per batch and the block positions per clip (again if nothing is left), so unions differ
    in size and are trimmed to the smallest in the batch. The released code keeps the first tokens in raster order
    (`prefix`), which starves the last time slots of context and targets; `random` trims uniformly.

    Args:
        num_clips: B.
        grid: (T', H', W').
        num_blocks: blocks per clip.
        scale: area of a block relative to the frame.
        aspect: range of height / width.
        span: length of a block relative to the clip.
        trim: random or prefix.
        aspect_draw: log_uniform, where tall blocks are as likely as wide ones; or uniform as released, where the area
            of a block is also rounded down to whole patches.
        device: of the result.

    Returns:
        keep int64 [B, K] and hide int64 [B, M], each ascending; K + M is less than N where tokens were trimmed.

    Raises:
        ConfigError: an unknown trim or draw, or blocks that leave a clip no context.
    """
    one_of("trim", trim, TRIMS)
    one_of("aspect_draw", aspect_draw, ASPECTS)
    T, H, W = grid
    share, area = float(torch.rand(())), scale * H * W
    if aspect_draw == "uniform":
        ratio, area = aspect[0] + (aspect[1] - aspect[0]) * share, math.floor(area)
    else:
        low, high = math.log(aspect[0]), math.log(aspect[1])
        ratio = math.exp(low + (high - low) * share)
    t = min(T, max(1, round(span * T)))
    h = min(H, max(1, round(math.sqrt(area * ratio))))
    w = min(W, max(1, round(math.sqrt(area / ratio))))
    hidden = _union(num_clips, grid, num_blocks, (t, h, w))
    for _ in range(200):
        full = hidden.all(1)
        if not full.any():
            return to_device(trim_to_shortest(~hidden, trim), device), to_device(trim_to_shortest(hidden, trim), device)
        hidden[full] = _union(int(full.sum()), grid, num_blocks, (t, h, w))
    raise ConfigError(
        f"{num_blocks} blocks of {t} x {h} x {w} mask the whole grid {grid}: give smaller blocks or a finer grid"
    )


def _union(num_clips: int, grid: Grid, num_blocks: int, size: Grid) -> Tensor:
    """Bool [B, N]: true inside any of the blocks, each at a random position."""
    inside = []
    for whole, part in zip(grid, size, strict=True):
        start = torch.randint(0, whole - part + 1, (num_clips, num_blocks, 1))
        at = torch.arange(whole)
        inside.append((at >= start) & (at < start + part))
    t, h, w = inside
    blocks = t[:, :, :, None, None] & h[:, :, None, :, None] & w[:, :, None, None, :]
    return blocks.any(1).flatten(1)


def contains(ids: Tensor, num: int) -> Tensor:
    """Bool [B, num], true at the indices int64 [B, K]."""
    return torch.zeros(len(ids), num, dtype=torch.bool, device=ids.device).scatter_(1, ids, True)


def trim_to_shortest(chosen: Tensor, trim: str = "random") -> Tensor:
    """Indices of true entries of bool [B, N], as many as the clip with the fewest has: int64 [B, K], ascending."""
    B, N = chosen.shape
    num = int(chosen.sum(1).min())
    rank = torch.rand(B, N) if trim == "random" else torch.arange(N).expand(B, N) / N
    order = torch.where(chosen, rank, 2.0).argsort(stable=True, dim=1)
    out: Tensor = order[:, :num].sort(1).values
    return out


def running_cell(num_clips: int, grid: Grid, ratio: float = 0.5, order: str = "circle") -> Tensor:
    """Running cell masking of VideoMAE V2's decoder (arXiv 2303.16727): 2 x 2 cells whose choice moves on over time.

    Args:
        num_clips: B.
        grid: (T', H', W'); H' and W' even.
        ratio: reconstructed fraction; a multiple of 0.25.
        order: how the choice moves: circle, around the cell; or raster as released, row by row.

    Returns:
        Bool [B, N], true for tokens to reconstruct; the same count in each clip.

    Raises:
        ConfigError: a ratio or grid without such cells, or an unknown order.
    """
    one_of("the order of a running cell", order, ORDERS)
    T, H, W = grid
    num = round(ratio * 4)
    if not 0 < num < 4 or abs(num - ratio * 4) > 1e-6 or H % 2 or W % 2:
        raise ConfigError(f"running cells need a ratio of 0.25, 0.5 or 0.75 and even sides, got {ratio} and {grid}")
    # The places of a cell in order: the chosen ones move on by one per time slot.
    places = torch.tensor([[0, 1], [3, 2]] if order == "circle" else [[0, 1], [2, 3]]).repeat(H // 2, W // 2)
    start = torch.randint(0, 4, (num_clips, 1, 1, 1))
    turn = torch.arange(T)[None, :, None, None]
    return ((places + start + turn) % 4 < num).flatten(1)
