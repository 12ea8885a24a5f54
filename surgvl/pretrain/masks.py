"""Which tokens a masked objective hides, as index tensors of equal length in a batch.

Masks are drawn on the host from torch's generator, so that lengths are known without waiting for a device, and then
sent over. Shapes: B clips, grid (T', H', W'), N = T'*H'*W' tokens in the order time, row, column; K kept, M hidden.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from surgvl.core.errors import ConfigError

Grid = tuple[int, int, int]
Device = torch.device | str
TRIMS = ("random", "prefix")


def send(ids: Tensor, device: Device) -> Tensor:
    """To the device without waiting for it."""
    return ids.to(device, non_blocking=True)


def tube(num_clips: int, grid: Grid, ratio: float, device: Device = "cpu") -> tuple[Tensor, Tensor]:
    """Tube masking of VideoMAE (arXiv 2203.12602): the same patches are hidden in all time slots.

    Args:
        num_clips: B.
        grid: (T', H', W').
        ratio: hidden share of the patches of a frame; int(ratio * H'W') are hidden.
        device: of the result.

    Returns:
        keep int64 [B, K] and hide int64 [B, M], each ascending.

    Raises:
        ConfigError: the ratio hides nothing or everything.
    """
    slots, space = grid[0], grid[1] * grid[2]
    keep, hide = scattered(num_clips, space, ratio)
    offsets = torch.arange(slots)[None, :, None] * space

    def spread(patches: Tensor) -> Tensor:
        return send((patches[:, None, :] + offsets).flatten(1), device)

    return spread(keep), spread(hide)


def random(num_clips: int, grid: Grid, ratio: float, device: Device = "cpu") -> tuple[Tensor, Tensor]:
    """Tokens hidden anywhere in space and time (MAE, arXiv 2111.06377); arguments and result as in `tube`."""
    keep, hide = scattered(num_clips, math.prod(grid), ratio)
    return send(keep, device), send(hide, device)


def scattered(num_clips: int, num: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Of `num` things hide int(ratio * num) at random: kept and hidden numbers, int64, ascending, on the host.

    Raises:
        ConfigError: the ratio hides nothing or everything.
    """
    num_hidden = int(ratio * num)
    if not 0 < num_hidden < num:
        raise ConfigError(f"mask ratio {ratio} hides {num_hidden} of {num} patches: give a ratio that leaves both some")
    order = torch.rand(num_clips, num).argsort(1)
    return order[:, num_hidden:].sort(1).values, order[:, :num_hidden].sort(1).values


def drawn(ratio: float | Sequence[float]) -> float:
    """A ratio, or one drawn evenly between the two that are given."""
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
    device: Device = "cpu",
) -> tuple[Tensor, Tensor]:
    """Multi-block masking of V-JEPA (arXiv 2404.08471): hide the union of blocks, keep what is around them.

    The size of a block is drawn once a batch and its place for each clip (again where nothing is left), so unions
    differ in size and are trimmed to the smallest of the batch. The released code keeps the first ones in raster order
    (`prefix`), which leaves the last time slots almost without context or targets; `random` trims evenly.

    Args:
        num_clips: B.
        grid: (T', H', W').
        num_blocks: blocks a clip.
        scale: area of a block over that of a frame.
        aspect: range of height over width.
        span: length of a block over that of the clip.
        trim: random or prefix.
        device: of the result.

    Returns:
        keep int64 [B, K] and hide int64 [B, M], each ascending; K + M is below N where something was trimmed.

    Raises:
        ConfigError: an unknown trim, or blocks that leave no clip a context.
    """
    if trim not in TRIMS:
        raise ConfigError(f"trim={trim!r} is unknown; allowed are {', '.join(TRIMS)}: choose one of them")
    T, H, W = grid
    log_low, log_high = math.log(aspect[0]), math.log(aspect[1])
    ratio = math.exp(log_low + (log_high - log_low) * float(torch.rand(())))
    t = min(T, max(1, round(span * T)))
    h = min(H, max(1, round(math.sqrt(scale * H * W * ratio))))
    w = min(W, max(1, round(math.sqrt(scale * H * W / ratio))))
    hidden = _union(num_clips, grid, num_blocks, (t, h, w))
    for _ in range(200):
        full = hidden.all(1)
        if not full.any():
            return send(trimmed(~hidden, trim), device), send(trimmed(hidden, trim), device)
        hidden[full] = _union(int(full.sum()), grid, num_blocks, (t, h, w))
    raise ConfigError(
        f"{num_blocks} blocks of {t} x {h} x {w} leave nothing of a grid {grid}: give smaller ones, or a finer grid"
    )


def _union(num_clips: int, grid: Grid, num_blocks: int, size: Grid) -> Tensor:
    """Bool [B, N]: true inside any of the blocks, each at a random place."""
    inside = []
    for whole, part in zip(grid, size, strict=True):
        start = torch.randint(0, whole - part + 1, (num_clips, num_blocks, 1))
        at = torch.arange(whole)
        inside.append((at >= start) & (at < start + part))
    t, h, w = inside
    blocks = t[:, :, :, None, None] & h[:, :, None, :, None] & w[:, :, None, None, :]
    return blocks.any(1).flatten(1)


def trimmed(chosen: Tensor, trim: str = "random") -> Tensor:
    """Numbers of the true entries of bool [B, N], as many for each clip as the poorest has: int64 [B, K], ascending."""
    B, N = chosen.shape
    num = int(chosen.sum(1).min())
    rank = torch.rand(B, N) if trim == "random" else torch.arange(N).expand(B, N) / N
    order = torch.where(chosen, rank, 2.0).argsort(stable=True, dim=1)
    out: Tensor = order[:, :num].sort(1).values
    return out


def running_cell(num_clips: int, grid: Grid, ratio: float = 0.5, device: Device = "cpu") -> Tensor:
    """Which tokens the decoder of VideoMAE V2 (arXiv 2303.16727) rebuilds: in cells of 2 x 2, running on over time.

    Args:
        num_clips: B.
        grid: (T', H', W'); H' and W' even.
        ratio: share that is chosen; a multiple of a quarter.
        device: of the result.

    Returns:
        Bool [B, N], true where the decoder rebuilds; the same count for each clip.

    Raises:
        ConfigError: a ratio or grid that has no such cells.
    """
    T, H, W = grid
    num = round(ratio * 4)
    if not 0 < num < 4 or abs(num - ratio * 4) > 1e-6 or H % 2 or W % 2:
        raise ConfigError(f"running cells need a ratio of 0.25, 0.5 or 0.75 and even sides, not {ratio} of {grid}")
    # The four places of a cell in a circle, so that what is chosen moves by one place a time slot.
    circle = torch.tensor([[0, 1], [3, 2]]).repeat(H // 2, W // 2)
    start = torch.randint(0, 4, (num_clips, 1, 1, 1))
    turn = torch.arange(T)[None, :, None, None]
    return send(((circle + start + turn) % 4 < num).flatten(1), device)
