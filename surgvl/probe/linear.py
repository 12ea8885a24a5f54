"""Linear readout: the mean of a clip's tokens, standardised over the training clips, then one linear layer per head.

The protocol of linear probing (Alain and Bengio, arXiv 1610.01644); standardisation replaces the batch norm without
affine parameters with which masked autoencoders are probed (He et al., arXiv 2111.06377).

Shapes: B clips, D width.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgvl.probe.base import Readout, linear_heads


class Linear(Readout):
    """Mean, standardisation and a linear layer for each head; arguments as `Readout`."""

    name = "linear"
    averages = True
    # Chosen by the mean of the four scores on the validation videos of a phantom of seed 7, SurgRec-MAE's encoder.
    steps: ClassVar[int] = 600
    lr: ClassVar[float] = 1e-2
    weight_decay: ClassVar[float] = 0.5

    def __init__(self, dim: int, classes: Mapping[str, int]):
        super().__init__(dim, classes)
        self.heads = linear_heads(dim, classes)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def prepare(self, tokens: NDArray[np.float16]) -> None:
        """Compute mean and standard deviation of each column; a constant column is only centred."""
        columns = tokens.mean(1, dtype=np.float64)
        std = columns.std(0)
        self.get_buffer("mean").copy_(torch.from_numpy(columns.mean(0)))
        self.get_buffer("std").copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0)))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D] -> float32 [B, C] by head."""
        x = (tokens.float().mean(1) - self.get_buffer("mean")) / self.get_buffer("std")
        return {head: linear(x) for head, linear in self.heads.items()}
