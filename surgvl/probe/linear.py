"""Linear readout: the mean of a clip's tokens, standardised over the training clips, then one linear layer per head.

The protocol of linear probing (Alain and Bengio, arXiv 1610.01644); standardisation replaces the batch norm without
affine parameters with which masked autoencoders are probed (He et al., arXiv 2111.06377).

Shapes: B clips, D width.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from surgvl.probe.base import Readout, linear_heads, standardisation
from surgvl.probe.labels import Head, Truth


class Standardised(nn.Module):
    """The mean of a clip's tokens in standard deviations of the training clips, [B, K, D] -> float32 [B, D].

    Args:
        dim: D.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def prepare(self, tokens: NDArray[np.float16]) -> None:
        """Compute both from the training tokens, [N, K, D]."""
        mean, std = standardisation(tokens)
        self.get_buffer("mean").copy_(torch.from_numpy(mean))
        self.get_buffer("std").copy_(torch.from_numpy(std))

    def forward(self, tokens: Tensor) -> Tensor:
        """Average and standardise."""
        return (tokens.float().mean(1) - self.get_buffer("mean")) / self.get_buffer("std")


class Linear(Readout):
    """Mean, standardisation and a linear layer for each head; arguments as `Readout`."""

    name = "linear"
    averages = True
    # Chosen by the mean of the four scores on the validation videos of a phantom of seed 7, SurgRec-MAE's encoder.
    steps: ClassVar[int] = 600
    lr: ClassVar[float] = 1e-2
    weight_decay: ClassVar[float] = 0.5

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.norm = Standardised(dim)
        self.heads = linear_heads(dim, heads)

    def prepare(self, tokens: NDArray[np.float16], truth: Truth) -> None:
        """Compute mean and standard deviation of each column; a constant column is only centred."""
        self.norm.prepare(tokens)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D] -> float32 [B, C] by head."""
        x = self.norm(tokens)
        return {head: linear(x) for head, linear in self.heads.items()}
