"""MS-TCN: stages of dilated temporal convolutions over a whole video, each of which refines the one before it.

Farha and Gall, arXiv 1903.01945: four stages of ten layers with 64 maps, each stage after the first sees only the
classes' probabilities; cross-entropy of every stage, and a truncated mean squared error of the change of its log
probabilities. Sees past and future: offline. Heads share the layers; with one head this is the published network.

Shapes: T clips of a video in temporal order, D width, M maps, C classes of a head.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from surgvl.probe.base import Readout, Sees
from surgvl.probe.labels import Head, Truth
from surgvl.probe.linear import Standardised
from surgvl.probe.loss import head_loss

SMOOTHING_WEIGHT = 0.15
# Truncation of the change of a log probability from clip to clip.
MOST = 4.0


class DilatedLayer(nn.Module):
    """A residual layer: dilated convolution of three clips, ReLU, a 1x1 convolution, dropout. [1, M, T] -> the same.

    Args:
        maps: M.
        dilation: clips between the three.
        causal: whether they are this clip and two before it, rather than one on each side.
    """

    def __init__(self, maps: int, dilation: int, causal: bool):
        super().__init__()
        self.pad = (2 * dilation, 0) if causal else (dilation, dilation)
        self.dilated = nn.Conv1d(maps, maps, 3, dilation=dilation)
        self.mix = nn.Conv1d(maps, maps, 1)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        """Residual connection around the convolutions."""
        out: Tensor = x + self.dropout(self.mix(F.relu(self.dilated(F.pad(x, self.pad)))))
        return out


class Stage(nn.Module):
    """A stack of layers whose dilation doubles, between two 1x1 convolutions.

    Args:
        width: channels of the input.
        maps: M.
        layers: number of layers.
        causal: see `DilatedLayer`.
        heads: name and number of outputs of each head.
    """

    def __init__(self, width: int, maps: int, layers: int, causal: bool, heads: Sequence[Head]):
        super().__init__()
        self.enter = nn.Conv1d(width, maps, 1)
        self.layers = nn.Sequential(*(DilatedLayer(maps, 2**number, causal) for number in range(layers)))
        self.leave = nn.ModuleDict({head.name: nn.Conv1d(maps, head.size, 1) for head in heads})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[1, width, T] -> logits [1, C, T] by head."""
        x = self.layers(self.enter(x))
        return {name: leave(x) for name, leave in self.leave.items()}


class MSTCN(Readout):
    """Multi-stage temporal convolutional network; arguments as `Readout`."""

    name = "ms_tcn"
    sees: ClassVar[Sees] = "video"
    averages = True
    steps: ClassVar[int] = 400
    lr: ClassVar[float] = 5e-4
    weight_decay: ClassVar[float] = 0.0
    stages: ClassVar[int] = 4
    layers: ClassVar[int] = 10
    maps: ClassVar[int] = 64

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.norm = Standardised(dim)
        width = sum(head.size for head in heads)
        self.stack = nn.ModuleList(self.stage(number, width if number else dim) for number in range(self.stages))

    def stage(self, number: int, width: int) -> nn.Module:
        """Stage `number`, of an input of some width."""
        return Stage(width, self.maps, self.layers, self.sees == "past", self.asked)

    def prepare(self, tokens: NDArray[np.float16], truth: Truth) -> None:
        """Compute mean and standard deviation of each column."""
        self.norm.prepare(tokens)

    def all_stages(self, tokens: Tensor) -> list[dict[str, Tensor]]:
        """Logits [T, C] by head of every stage, from the tokens [T, K, D] of one video."""
        x, found = self.norm(tokens).T[None], list[dict[str, Tensor]]()
        for stage in self.stack:
            logits = stage(x)
            found.append({name: values[0].T for name, values in logits.items()})
            x = torch.cat([activation(head, logits[head.name]) for head in self.asked], 1)
        return found

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """The last stage: tokens [T, K, D] of one video -> logits float32 [T, C] by head."""
        return self.all_stages(tokens)[-1]

    def loss(self, tokens: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Sum over stages and heads of the loss, and of the change of classes of which one is right."""
        total = tokens.new_zeros((), dtype=torch.float32)
        for logits in self.all_stages(tokens):
            for head in self.asked:
                total = total + head_loss(logits[head.name], truth[head.name])
                if head.kind == "one" and len(tokens) > 1:
                    total = total + SMOOTHING_WEIGHT * change(logits[head.name])
        return total


def change(logits: Tensor) -> Tensor:
    """Mean of the squared, truncated change of log probabilities from clip to clip, [T, C] -> scalar.

    Gradients reach the later clip only, as published.
    """
    log_p = logits.log_softmax(1)
    return (log_p[1:] - log_p[:-1].detach()).square().clamp(max=MOST**2).mean()


def activation(head: Head, logits: Tensor) -> Tensor:
    """What the next stage sees of a head's logits [1, C, T]: probabilities, or a number as it is."""
    if head.kind == "one":
        return logits.softmax(1)
    return logits.sigmoid() if head.kind == "many" else logits
