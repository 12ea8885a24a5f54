"""TeCNO: a causal MS-TCN of two stages, trained by class-weighted cross-entropy; it sees the past only: online.

Czempiel et al., arXiv 2003.10751: two stages of eight layers with 32 maps, classes weighted by their median frequency,
the mean over the stages, no smoothing term. The released code, and SurgVISTA's copy of it, compute the cross-entropy of
probabilities, a softmax too many; here it is that of the logits.

Shapes: T clips of a video in temporal order, C classes of a head.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgvl.probe.base import Sees
from surgvl.probe.labels import Head, Truth
from surgvl.probe.loss import head_loss
from surgvl.probe.ms_tcn import MSTCN


class TeCNO(MSTCN):
    """Causal temporal convolutional network of two stages; arguments as `Readout`."""

    name = "tecno"
    sees: ClassVar[Sees] = "past"
    lr: ClassVar[float] = 1e-3
    stages: ClassVar[int] = 2
    layers: ClassVar[int] = 8
    maps: ClassVar[int] = 32

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        for head in heads:
            if head.kind == "one":
                self.register_buffer(f"weights_{head.name}", torch.ones(head.size))

    def prepare(self, tokens: NDArray[np.float16], truth: Truth) -> None:
        """Compute the weights of the classes as well."""
        super().prepare(tokens, truth)
        for head in self.asked:
            if head.kind == "one":
                weights = median_frequency(truth[head.name], head.size)
                self.get_buffer(f"weights_{head.name}").copy_(torch.from_numpy(weights))

    def loss(self, tokens: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Sum over the heads of the weighted loss, mean over the stages."""
        found = self.all_stages(tokens)
        losses = [
            head_loss(
                logits[head.name],
                truth[head.name],
                self.get_buffer(f"weights_{head.name}") if head.kind == "one" else None,
            )
            for logits in found
            for head in self.asked
        ]
        return torch.stack(losses).sum() / len(found)


def median_frequency(truth: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """Weight of each class, float32 [C]: the median of the classes' frequencies over its own; 0 where it is absent.

    Args:
        truth: int64 [N], class or -1.
        num_classes: C.
    """
    counts = np.bincount(truth[truth >= 0], minlength=num_classes)
    there = counts > 0
    median = np.median(counts[there]) if there.any() else 1.0
    return np.where(there, median / np.maximum(counts, 1), 0).astype(np.float32)
