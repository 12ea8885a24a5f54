"""Exponential moving average of a module's weights: the teacher of V-JEPA (arXiv 2404.08471), or a model to export."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError


class EMA(nn.Module):
    """A copy of a module that holds the exponential moving average of its weights; called like the module.

    The copy has no gradients and stays in evaluation mode, so it is deterministic (no stochastic depth). Its parameters
    are in the state dict, as `module.*`, and in no optimizer. In bfloat16, small updates would be lost to rounding:
    train with 32-true or bf16-mixed, whose weights are float32.

    Args:
        module: copied as it is now.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever `mode` is."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *args: Any) -> Any:
        """Call the copy."""
        return self.module(*args)

    @torch.no_grad()
    def update(self, module: nn.Module, momentum: float) -> None:
        """Update: copy = momentum * copy + (1 - momentum) * module; buffers are copied.

        Args:
            module: of the same shapes as the copy.
            momentum: in [0, 1].

        Raises:
            ConfigError: the momentum is outside [0, 1].
        """
        if not 0 <= momentum <= 1:
            raise ConfigError(f"EMA momentum must be between 0 and 1, got {momentum}")
        mine: list[Tensor] = list(self.module.parameters())
        if mine:
            torch._foreach_lerp_(mine, list[Tensor](module.parameters()), 1 - momentum)
        mine = list(self.module.buffers())
        if mine:
            torch._foreach_copy_(mine, list(module.buffers()))
