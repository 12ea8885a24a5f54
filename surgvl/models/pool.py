"""Attentive pooling: a learned query attends to all tokens and returns one vector per clip.

Follows the attentive probe of V-JEPA (Bardes et al., arXiv 2404.08471): cross-attention, then a residual MLP.
Shapes: B clips, N tokens, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.models.vit import init_weights


class AttentivePool(nn.Module):
    """Pools tokens [B, N, D] to one vector per clip [B, D].

    Args:
        dim: width D.
        heads: attention heads; divides `dim`.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(nn.init.normal_(torch.empty(1, 1, dim), std=0.02))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.q, self.kv, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.apply(init_weights)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool the tokens of each clip."""
        B, N, D = tokens.shape
        k, v = self.kv(self.norm(tokens)).view(B, N, 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q = self.q(self.query).view(1, 1, self.heads, D // self.heads).transpose(1, 2).expand(B, -1, -1, -1)
        x = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, D))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out
