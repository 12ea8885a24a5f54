"""Muon (Jordan et al., 2024): the step of a matrix is the orthogonal factor of its momentum.

torch's own Muon multiplies in bfloat16 on any device, which a CPU without such instructions emulates about ten times
slower than float32. The iteration and its coefficients are those of
https://kellerjordan.github.io/posts/muon/; steps are scaled to the root mean square of AdamW's (arXiv 2502.16982).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgvl.train.config import multiplies_bfloat16

MOMENTUM, ITERATIONS, EPS = 0.95, 5, 1e-7
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Approximately U V^T of each matrix U S V^T: Newton-Schulz iterations bring its singular values near 1.

    Args:
        matrices: of one shape, [n, M, N].
        dtype: type to multiply in.

    Returns:
        [n, M, N] in `dtype`.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype, copy=True)
    # The largest singular value is at most the norm, and must be at most 1 for the iteration to converge.
    x /= x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with decoupled weight decay.

    Args:
        params: groups of matrices [M, N]; each may have its own `lr` and `weight_decay`.
        lr: learning rate, on AdamW's scale.
        weight_decay: decoupled; a step multiplies weights by 1 - lr * weight_decay.
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
            # Layers repeat, so matrices of one shape are multiplied in one batch.
            alike: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault((parameter.shape, parameter.device), []).append(parameter)
            for parameters in alike.values():
                self._move(parameters, group["lr"], group["weight_decay"])
        return loss

    def _move(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        """Update parameters [M, N] of one shape, all with gradients."""
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter, grad in zip(parameters, grads, strict=True):
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(grad)
        momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(momenta, grads, 1 - MOMENTUM)
        ahead = torch.stack(torch._foreach_lerp(grads, momenta, MOMENTUM))
        dtype = torch.bfloat16 if multiplies_bfloat16(ahead.device.type) else torch.float32
        towards = orthogonal(ahead, dtype).to(ahead.dtype)
        torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        torch._foreach_add_(parameters, towards.unbind(), alpha=-0.2 * math.sqrt(max(ahead.shape[1:])) * lr)
