"""From encoder tokens to the language model's embeddings: means over a grid in time and space, then two linear layers.

The two-layer GELU projector is that of LLaVA-1.5 (Liu et al., arXiv 2310.03744).
Shapes: B clips, (T', H', W') the encoder's grid, V = t*h*w visual tokens, D encoder width, M language width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.errors import ConfigError


class Projector(nn.Module):
    """Tokens [B, T'*H'*W', D] -> visual tokens [B, V, M].

    Args:
        dim: encoder width D.
        width: language width M.
        encoder_grid: (T', H', W') of the encoder.
        grid: (t, h, w) of the visual tokens; none larger than the encoder's.

    Raises:
        ConfigError: the grid asks for more tokens than the encoder gives.
    """

    def __init__(self, dim: int, width: int, encoder_grid: tuple[int, int, int], grid: tuple[int, int, int]):
        super().__init__()
        if any(a > b for a, b in zip(grid, encoder_grid, strict=True)):
            raise ConfigError(f"visual grid {grid} is finer than the encoder's {encoder_grid}: choose a coarser one")
        self.encoder_grid, self.grid = encoder_grid, grid
        self.num_tokens = grid[0] * grid[1] * grid[2]
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))

    def pool(self, tokens: Tensor) -> Tensor:
        """Average tokens [B, T'*H'*W', D] over the grid -> [B, V, D]; has no parameters, so it can be stored."""
        B, _, D = tokens.shape
        volume = tokens.transpose(1, 2).reshape(B, D, *self.encoder_grid)
        return F.adaptive_avg_pool3d(volume, self.grid).flatten(2).transpose(1, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """Project pooled tokens [B, V, D] -> [B, V, M]."""
        out: Tensor = self.mlp(self.norm(pooled))
        return out
