"""The decoder of masked autoencoders: visible tokens in, predictions for masked tokens out.

As in VideoMAE (arXiv 2203.12602): visible tokens and a learned mask token per masked position pass through a narrow
transformer. Shapes: B clips, K kept, M masked, D encoder width, d decoder width, P prediction width.
"""

import torch
from torch import Tensor, nn

from surgvl.models.blocks import Transformer, init_weights
from surgvl.models.position import PositionEmbedding
from surgvl.models.vit import VideoViT


class Decoder(nn.Module):
    """Visible tokens [B, K, D] -> predictions for masked tokens [B, M, P].

    Args:
        encoder: supplies grid and width.
        out_dim: width P.
        dim: width d.
        depth: number of blocks.
        heads: attention heads.
        position: kind of position embedding; see `models.position`.
        down_bias: whether the projection D -> d has a bias.
        drop_path: see `Transformer`.
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
        self.blocks = Transformer(dim, depth, heads, drop_path=drop_path)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, out_dim)
        self.position = PositionEmbedding(position, encoder.grid, dim, dim // heads)
        self.apply(init_weights)

    def forward(self, tokens: Tensor, keep: Tensor, hide: Tensor) -> Tensor:
        """Predict the masked tokens; `keep` int64 [B, K], `hide` int64 [B, M]."""
        x = torch.cat([self.down(tokens), self.mask_token.expand(*hide.shape, -1)], 1)
        ids = torch.cat([keep, hide], 1)
        x = self.blocks(self.position.add(x, ids), self.position.rotation(ids))
        out: Tensor = self.head(self.norm(x[:, keep.shape[1] :]))
        return out
