"""Linear layers that use all of a CPU: float32 products by oneDNN instead of MKL.

torch multiplies float32 matrices on x86 by MKL, which leaves the 512-bit vectors of AMD's processors unused; oneDNN,
which comes with torch, does not. `benchmarks/pretrain_step.py` measures a training step with either; on an Intel
processor we have not. `torch.backends.mkldnn.enabled` switches it off.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BUILT = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
# What is more than a tensor (sharded, quantised, fake) has products of its own.
PLAIN = (Tensor, nn.Parameter)


class Linear(nn.Linear):
    """torch's layer with another product: the same parameters, the same result but for rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """Float [..., in] -> [..., out]."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X @ weight.T + bias as `torch.nn.functional.linear`; float32 on a CPU by oneDNN, without second derivatives.

    Args:
        x: [..., in].
        weight: [out, in].
        bias: [out].

    Returns:
        [..., out].
    """
    if not _suits(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in (x, weight, bias)):
        out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return _product(x, weight, bias)


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(x) in PLAIN
        and type(weight) in PLAIN
        and x.numel() > 0
        and BUILT
        and bool(torch.backends.mkldnn.enabled)
        # Autocast computes in another type, and a compiler has products of its own.
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # A transposed weight is taken as it lies, but one with gaps between its rows goes to oneDNN's reference code, which
    # is a thousand times as slow.
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The gradient of one factor wants the other.
        by_x, by_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            None if weight is None else _product(grad, weight.t()),
            None if x is None else _product(rows.t(), x.reshape(-1, x.shape[-1]).t()),
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )
