"""A causal transformer over the clips of a video: each clip attends to itself and to all before it; online.

The decoder of Vaswani et al. (arXiv 1706.03762) as a temporal model of frozen features, pre-norm. Positions are
sinusoids of the clip's number from the start of the video, because the time since then tells much about a phase.

Shapes: T clips of a video in temporal order, D width of the tokens, W width of the transformer, C classes of a head.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from surgvl.models.position import sinusoid
from surgvl.probe.base import Readout, linear_heads
from surgvl.probe.labels import Head, Truth
from surgvl.probe.linear import Standardised

WIDTH = 64
HEADS = 4
DEPTH = 2
DROPOUT = 0.3


class CausalBlock(nn.Module):
    """Pre-norm attention over the past and an MLP, each with dropout and a residual connection. [T, W] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then the MLP."""
        q, k, v = self.qkv(self.norm1(x)).view(1, len(x), 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.proj(seen[0].transpose(0, 1).reshape(len(x), WIDTH)))
        out: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return out


class CausalTransformer(Readout):
    """Two causal blocks and a linear layer for each head; arguments as `Readout`."""

    name = "causal_transformer"
    sees = "past"
    averages = True
    steps: ClassVar[int] = 400
    lr: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 0.05

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.norm = Standardised(dim)
        self.enter = nn.Sequential(nn.Linear(dim, WIDTH), nn.Dropout(DROPOUT))
        self.blocks = nn.Sequential(*(CausalBlock() for _ in range(DEPTH)))
        self.last = nn.LayerNorm(WIDTH)
        self.heads = linear_heads(WIDTH, heads)

    def prepare(self, tokens: NDArray[np.float16], truth: Truth) -> None:
        """Compute mean and standard deviation of each column."""
        self.norm.prepare(tokens)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [T, K, D] of one video -> logits float32 [T, C] by head."""
        x = self.enter(self.norm(tokens))
        x = self.last(self.blocks(x + sinusoid(len(x), WIDTH).to(x.device)))
        return {head: linear(x) for head, linear in self.heads.items()}
