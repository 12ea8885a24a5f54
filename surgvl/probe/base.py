"""The contract of a readout: tokens of a frozen encoder in, scores of every head out; each file is one choice.

Shapes: B clips, K tokens of a clip, D width, C classes of a head.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Readout(nn.Module):
    """A readout with one head for each kind of label.

    Args:
        dim: width D of the tokens.
        classes: number of classes C of each head, by its name.

    Attributes:
        name: public name, equal to the file's.
        averages: whether the readout uses only the mean of a clip's tokens, so that only that is stored (K = 1).
        steps: default number of training steps.
        lr: default peak learning rate.
        weight_decay: default weight decay of matrices.
    """

    name: ClassVar[str] = ""
    averages: ClassVar[bool] = False
    steps: ClassVar[int] = 300
    lr: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 0.05

    def __init__(self, dim: int, classes: Mapping[str, int]):
        super().__init__()
        self.dim, self.classes = dim, dict(classes)

    def prepare(self, tokens: NDArray[np.float16]) -> None:
        """Compute statistics of the training tokens, float16 [N, K, D], before training; does nothing by default."""

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D], float16 or float32 -> float32 [B, C] by head."""
        raise NotImplementedError


def linear_heads(dim: int, classes: Mapping[str, int]) -> nn.ModuleDict:
    """A linear layer [B, D] -> [B, C] for each head, initialised to zero, so that all classes start equally likely."""
    heads = nn.ModuleDict()
    for head, number in classes.items():
        linear = nn.Linear(dim, number)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        heads[head] = linear
    return heads
