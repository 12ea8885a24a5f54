"""A module's exponential moving average: the teacher of V-JEPA (arXiv 2404.08471), and a smoother model to export."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError


class Average(nn.Module):
    """A copy of a module that follows it at a distance; called as the module is.

    The copy has no gradients and stays in evaluation mode, so it is deterministic (no stochastic depth). Its parameters
    are part of the state dict, as `module.*`, and of no optimiser. In bfloat16 weights, small steps would be lost to
    rounding: train with 32-true or bf16-mixed, whose weights are float32.

    Args:
        module: what is copied, as it is now.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever is asked."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *args: Any) -> Any:
        """Call the copy."""
        return self.module(*args)

    @torch.no_grad()
    def update(self, module: nn.Module, momentum: float) -> None:
        """Go a step towards a module: copy = momentum * copy + (1 - momentum) * module; buffers are taken over.

        Args:
            module: of the same shapes as the copy.
            momentum: in [0, 1].

        Raises:
            ConfigError: the momentum is outside [0, 1].
        """
        if not 0 <= momentum <= 1:
            raise ConfigError(f"momentum {momentum} of an average is outside 0 to 1: give a number that is not")
        mine: list[Tensor] = list(self.module.parameters())
        if mine:
            torch._foreach_lerp_(mine, list[Tensor](module.parameters()), 1 - momentum)
        mine = list(self.module.buffers())
        if mine:
            torch._foreach_copy_(mine, list(module.buffers()))
