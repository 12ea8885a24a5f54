"""V-JEPA 2's attentive probe: three self-attention blocks over the tokens, then a cross-attention block with one query.

Assran et al., arXiv 2506.09985: four blocks, the last of which has a learned query for each task; here the first three
are shared by all heads. UniSurg's probe is the same (arXiv 2602.05638).

Shapes: B clips, K tokens, D width.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.models.pool import AttentivePool
from surgvl.models.vit import Transformer, init_weights
from surgvl.probe.attentive import narrow_heads
from surgvl.probe.base import Readout, linear_heads
from surgvl.probe.labels import Head

NUM_BLOCKS = 3


class AttentiveBlocks(Readout):
    """Three blocks, and an attentive pool and a linear layer for each head; arguments as `Readout`."""

    name = "attentive_blocks"
    steps: ClassVar[int] = 400
    lr: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 0.1

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.blocks = Transformer(dim, NUM_BLOCKS, narrow_heads(dim))
        self.blocks.apply(init_weights)
        self.pools = nn.ModuleList(AttentivePool(dim, narrow_heads(dim)) for _ in heads)
        self.heads = linear_heads(dim, heads)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D] -> float32 [B, C] by head."""
        # Tokens of encoders without a last norm have columns of very different size.
        x = self.blocks(F.layer_norm(tokens.float(), tokens.shape[2:], eps=1e-6))
        return {head: linear(pool(x)) for (head, linear), pool in zip(self.heads.items(), self.pools, strict=True)}
