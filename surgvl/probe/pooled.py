"""The head of full fine-tuning: mean of the tokens, layer norm, dropout and a linear layer that starts at zero.

SurgVISTA's downstream head (arXiv 2506.02692), after VideoMAE's (arXiv 2203.12602).
Shapes: B clips, K tokens, D width, C classes of a head.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from surgvl.probe.base import Readout, linear_heads
from surgvl.probe.labels import Head

DROPOUT = 0.5


class Pooled(Readout):
    """Mean, layer norm, dropout and a linear layer for each head; arguments as `Readout`."""

    name = "pooled"
    averages = True
    lr: ClassVar[float] = 1e-3

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(DROPOUT)
        self.heads = linear_heads(dim, heads)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D] -> float32 [B, C] by head."""
        x = self.dropout(self.norm(tokens.float().mean(1)))
        return {head: linear(x).float() for head, linear in self.heads.items()}
