"""Linear layers that use all of a CPU: float32 products by oneDNN instead of MKL.

torch multiplies float32 matrices on x86 by MKL, which leaves the 512-bit vectors of AMD's processors unused; oneDNN,
which comes with torch, does not. On an EPYC with AVX-512 a product of ViT-B took half the time or less (torch 2.13, two
threads: 180 against 400 GFLOP/s forward, 175 against 320 for the weights' gradient). `torch.backends.mkldnn.enabled`
switches it off.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BUILT = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


class Linear(nn.Linear):
    """torch's layer with another product: the same parameters, the same result but for rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """Float [..., in] -> [..., out]."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X @ weight.T + bias as `torch.nn.functional.linear`, by oneDNN where that is for the better.

    Args:
        x: [..., in].
        weight: [out, in].
        bias: [out].

    Returns:
        [..., out].
    """
    if not _suits(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return _product(x, weight, bias)


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and BUILT
        and bool(torch.backends.mkldnn.enabled)
        # Autocast computes in another type, and a compiler has products of its own.
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """OneDNN takes any strides, so that nothing is copied to be transposed."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            _product(grad, weight.t()) if by_x else None,
            _product(rows.t(), x.reshape(-1, x.shape[-1]).t()) if by_weight else None,
            rows.sum(0) if by_bias else None,
        )
