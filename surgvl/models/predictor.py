"""The predictor of V-JEPA (arXiv 2404.08471): context tokens in, predicted tokens of the masked positions out.

The released code sorts tokens by position before its blocks; ours does not, as attention ignores their order.
Shapes: B clips, K kept, M masked, D encoder width, d predictor width.
"""

import torch
from torch import Tensor, nn

from surgvl.models.position import PositionEmbedding
from surgvl.models.vit import Transformer, init_weights
from surgvl.models.vit_config import Grid


class Predictor(nn.Module):
    """Context tokens [B, K, D] -> predicted tokens [B, M, D].

    Args:
        encoder_dim: width D.
        grid: (T', H', W') of the encoder.
        position: kind of position embedding; see `models.position`.
        dim: width d.
        depth: number of blocks.
        heads: attention heads.
        num_mask_tokens: learned mask tokens, one per kind of mask; zero-initialised as in the released code.
        checkpoint: see `Transformer`.
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
        self.blocks = Transformer(dim, depth, heads, checkpoint=checkpoint)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.up = nn.Linear(dim, encoder_dim)
        self.position = PositionEmbedding(position, grid, dim, dim // heads)
        self.apply(init_weights)

    def forward(self, tokens: Tensor, keep: Tensor, hide: Tensor, kind: int = 0) -> Tensor:
        """Predict the masked tokens; `keep` int64 [B, K], `hide` int64 [B, M], `kind` of mask."""
        x = torch.cat([self.down(tokens), self.mask_tokens[kind].expand(*hide.shape, -1)], 1)
        ids = torch.cat([keep, hide], 1)
        x = self.blocks(self.position.add(x, ids), self.position.rotation(ids))
        out: Tensor = self.up(self.norm(x[:, keep.shape[1] :]))
        return out
