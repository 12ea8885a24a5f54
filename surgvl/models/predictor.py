"""The predictor of V-JEPA (arXiv 2404.08471): from tokens of the context to tokens of what was hidden.

The released code sorts tokens by place before its blocks; attention does not depend on their order, so ours does not.
Shapes: B clips, K kept, M hidden, D encoder width, d predictor width.
"""

import torch
from torch import Tensor, nn

from surgvl.models.blocks import Stack, init_weights
from surgvl.models.position import Grid, Places


class Predictor(nn.Module):
    """Context tokens [B, K, D] -> predicted tokens [B, M, D].

    Args:
        encoder_dim: width D.
        grid: (T', H', W') of the encoder.
        position: table of the places, or rope; see `models.position`.
        dim: width d.
        depth: number of blocks.
        heads: attention heads.
        num_mask_tokens: learned tokens, one for each kind of mask; they start at zero, as released.
        checkpoint: see `Stack`.
    """

    def __init__(
        self,
        encoder_dim: int,
        grid: Grid,
        position: str = "rope",
        dim: int = 384,
        depth: int = 12,
        heads: int = 12,
        num_mask_tokens: int = 1,
        checkpoint: bool = False,
    ):
        super().__init__()
        self.down = nn.Linear(encoder_dim, dim)
        self.mask_tokens = nn.Parameter(torch.zeros(num_mask_tokens, dim))
        self.blocks = Stack(dim, depth, heads, checkpoint=checkpoint)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.up = nn.Linear(dim, encoder_dim)
        self.places = Places(position, grid, dim, dim // heads)
        self.apply(init_weights)

    def forward(self, tokens: Tensor, keep: Tensor, hide: Tensor, kind: int = 0) -> Tensor:
        """Predict at the hidden places; `keep` int64 [B, K], `hide` int64 [B, M], `kind` of the mask."""
        x = torch.cat([self.down(tokens), self.mask_tokens[kind].expand(*hide.shape, -1)], 1)
        ids = torch.cat([keep, hide], 1)
        x = self.blocks(self.places.add(x, ids), self.places.rotation(ids))
        out: Tensor = self.up(self.norm(x[:, keep.shape[1] :]))
        return out
