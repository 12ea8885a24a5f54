"""The loss of a readout: softmax cross-entropy, binary cross-entropy or a squared error, over known labels only.

Shapes: B clips, C classes of a head.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def head_loss(scores: Tensor, truth: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Mean loss of one head over its known labels; 0 if none is known.

    Args:
        scores: logits float32 [B, C], never probabilities; of a number [B, 1].
        truth: int64 [B], class or -1; int64 [B, C] of 0, 1 and -1; or float32 [B], NaN where unknown.
        weights: of the classes, float32 [C]; the mean is then weighted, as torch's. Only where one class is right.
        smoothing: label smoothing (arXiv 1512.00567), where one class is right.

    Returns:
        Scalar.
    """
    if truth.is_floating_point():
        is_known = truth.isfinite()
        each = (scores[:, 0] - truth.nan_to_num()).square()
    elif truth.ndim == 1:
        is_known, answer = truth >= 0, truth.clamp(min=0)
        each = F.cross_entropy(scores, answer, weights, reduction="none", label_smoothing=smoothing)
        if weights is not None:
            return (each * is_known).sum() / (weights[answer] * is_known).sum().clamp(min=1e-12)
    else:
        is_known, answer = truth >= 0, truth.clamp(min=0)
        each = F.binary_cross_entropy_with_logits(scores, answer.to(scores.dtype), reduction="none")
    return (each * is_known).sum() / is_known.sum().clamp(min=1)


def loss_of(scores: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
    """Sum over the heads of their losses; arguments by head, as `head_loss` takes them. Scalar."""
    return torch.stack([head_loss(values, truth[head]) for head, values in scores.items()]).sum()
