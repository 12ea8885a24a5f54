"""Which tokens a masked objective hides, as index tensors of equal length in a batch.

Shapes: B clips, grid (T', H', W'), N = T'*H'*W' tokens in the order time, row, column; K kept, M = N - K hidden.
"""

import torch
from torch import Tensor

from surgvl.errors import ConfigError


def tube(
    num_clips: int, grid: tuple[int, int, int], ratio: float, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
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
    num_hidden = int(ratio * space)
    if not 0 < num_hidden < space:
        raise ConfigError(
            f"mask ratio {ratio} hides {num_hidden} of {space} patches: give a ratio that leaves both some"
        )
    order = torch.rand(num_clips, space, device=device).argsort(1)
    offsets = torch.arange(slots, device=device)[None, :, None] * space

    def spread(patches: Tensor) -> Tensor:
        return (patches.sort(1).values[:, None, :] + offsets).flatten(1)

    return spread(order[:, num_hidden:]), spread(order[:, :num_hidden])
