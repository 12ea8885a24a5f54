"""The contract of a readout: tokens of a frozen encoder in, scores of every head out; each file is one choice.

Shapes: B clips, K tokens of a clip, D width, C outputs of a head, N training clips.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from surgvl.probe.labels import Head, Truth
from surgvl.probe.loss import loss_of

Sees = Literal["clip", "past", "video"]


class Readout(nn.Module):
    """A readout with one head for each kind of label.

    Args:
        dim: width D of the tokens.
        heads: kinds of labels with their classes.

    Attributes:
        name: public name, equal to the file's.
        sees: `clip`: a clip alone. Otherwise the B clips of a batch are those of one video in temporal order, and each
            is judged by the `past` (itself and those before it: online) or by the whole `video` (offline).
        averages: whether the readout uses only the mean of a clip's tokens, so that only that is stored (K = 1).
        steps: default number of training steps; 0 for a readout that is not trained.
        lr: default peak learning rate.
        weight_decay: default weight decay of matrices.
    """

    name: ClassVar[str] = ""
    sees: ClassVar[Sees] = "clip"
    averages: ClassVar[bool] = False
    steps: ClassVar[int] = 300
    lr: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 0.05

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__()
        self.dim, self.asked = dim, tuple(heads)

    def prepare(self, tokens: NDArray[np.float16], truth: Truth) -> None:
        """Compute what gradients do not learn, from the training tokens [N, K, D] and labels; nothing by default."""

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D], float16 or float32 -> logits float32 [B, C] by head; of a number [B, 1]."""
        raise NotImplementedError

    def loss(self, tokens: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of a batch with labels by head, as `surgvl.probe.loss.head_loss` takes them."""
        return loss_of(self(tokens), truth)

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give buffers whose size depends on the training data the shapes of stored ones; nothing by default."""

    def num_trainable(self) -> int:
        """Parameters that are trained on labels."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def linear_heads(dim: int, heads: Sequence[Head]) -> nn.ModuleDict:
    """A linear layer [B, D] -> [B, C] for each head, initialised to zero, so that all classes start equally likely."""
    found = nn.ModuleDict()
    for head in heads:
        linear = nn.Linear(dim, head.size)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        found[head.name] = linear
    return found


def standardisation(tokens: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the clips' mean tokens, float32 [D] each; a constant column has 1 for the latter.

    Args:
        tokens: [N, K, D].
    """
    columns = tokens.mean(1, dtype=np.float64)
    std = columns.std(0)
    return columns.mean(0).astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(np.float32)
