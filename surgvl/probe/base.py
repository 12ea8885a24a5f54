"""What a readout is: tokens of a frozen encoder in, the scores of every head out; a file of its own makes it a choice.

Shapes: B clips, K tokens of a clip, D width, C classes of a head.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Readout(nn.Module):
    """A readout with one head for each question.

    Args:
        dim: width D of the tokens.
        classes: number of classes C of each head, by its name.

    Attributes:
        name: public name, equal to the file's.
        averages: the readout sees only the mean of a clip's tokens, so only that is kept (K = 1).
        steps: training steps where none are asked for.
        lr: peak learning rate where none is asked for.
        weight_decay: of matrices, where none is asked for.
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
        """Look at the training tokens, float16 [N, K, D], once before training starts."""

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D], float16 or float32 -> float32 [B, C] by head."""
        raise NotImplementedError


def linear_heads(dim: int, classes: Mapping[str, int]) -> nn.ModuleDict:
    """A linear layer [B, D] -> [B, C] for each head, all zero at first: no class is likelier than another."""
    heads = nn.ModuleDict()
    for head, number in classes.items():
        linear = nn.Linear(dim, number)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        heads[head] = linear
    return heads
