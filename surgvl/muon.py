"""Muon (Jordan et al., 2024): the orthogonal factor of each matrix's momentum as its step.

torch's own optimiser multiplies in bfloat16 whatever the device, which a CPU without such instructions emulates some
ten times slower than float32. The iteration and its coefficients are those of
https://kellerjordan.github.io/posts/muon/; steps are scaled to the root mean square of AdamW's (arXiv 2502.16982).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgvl.settings import multiplies_bfloat16

MOMENTUM, ITERATIONS, EPS = 0.95, 5, 1e-7
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Roughly U V^T of a matrix U S V^T: its singular values are brought near 1 by Newton-Schulz iterations.

    Args:
        matrix: [M, N].
        dtype: type to multiply in.

    Returns:
        [M, N] in `dtype`.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype, copy=True)
    # The largest singular value is at most the norm; the iteration wants it at most 1.
    x /= x.norm().clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with decoupled weight decay.

    Args:
        params: groups of matrices [M, N]; each may have its own `lr` and `weight_decay`.
        lr: learning rate, on AdamW's scale.
        weight_decay: share of the weights that a step takes away, over the learning rate.
    """

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.1):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; `closure` computes the loss and its gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"], group["weight_decay"])
        return loss

    def _move(self, parameter: Tensor, grad: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        momentum = state["momentum_buffer"].lerp_(grad, 1 - MOMENTUM)
        dtype = torch.bfloat16 if multiplies_bfloat16(parameter.device.type) else torch.float32
        towards = orthogonal(grad.lerp(momentum, MOMENTUM), dtype)
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(towards, alpha=-0.2 * math.sqrt(max(parameter.shape)) * lr)
