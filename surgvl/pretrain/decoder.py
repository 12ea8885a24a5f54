"""The decoder of masked autoencoders: tokens of what is seen in, predictions of what is hidden out.

As in VideoMAE (arXiv 2203.12602): visible tokens and one learned token a hidden place go through a narrow stack.
Shapes: B clips, K kept, M hidden, D encoder width, d decoder width, P prediction width.
"""

import torch
from torch import Tensor, nn

from surgvl.models.blocks import Stack, init_weights
from surgvl.models.position import Places
from surgvl.models.vit import VideoViT


class Decoder(nn.Module):
    """Kept tokens [B, K, D] -> predictions at hidden places [B, M, P].

    Args:
        encoder: gives grid and width.
        out_dim: width P.
        dim: width d.
        depth: number of blocks.
        heads: attention heads.
        position: table of the places; see `models.position`.
        down_bias: whether the projection D -> d has a bias.
        drop_path: see `Stack`.
    """

    def __init__(
        self,
        encoder: VideoViT,
        out_dim: int,
        dim: int,
        depth: int,
        heads: int,
        position: str = "sinusoid",
        down_bias: bool = False,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.down = nn.Linear(encoder.dim, dim, bias=down_bias)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.blocks = Stack(dim, depth, heads, drop_path=drop_path)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, out_dim)
        self.places = Places(position, encoder.grid, dim, dim // heads)
        self.apply(init_weights)

    def forward(self, tokens: Tensor, keep: Tensor, hide: Tensor) -> Tensor:
        """Predict at the hidden places; `keep` int64 [B, K], `hide` int64 [B, M]."""
        x = torch.cat([self.down(tokens), self.mask_token.expand(*hide.shape, -1)], 1)
        ids = torch.cat([keep, hide], 1)
        x = self.blocks(self.places.add(x, ids), self.places.rotation(ids))
        out: Tensor = self.head(self.norm(x[:, keep.shape[1] :]))
        return out
