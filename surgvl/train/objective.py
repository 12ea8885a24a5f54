"""The contract between what is trained and the loop that trains it."""

from typing import Any

from torch import Tensor, nn


class Objective(nn.Module):
    """A plain module whose forward turns a batch into losses.

    `forward(batch)` returns {"loss": scalar, name: scalar, ...}; deterministic under torch's seed; trained by
    `surgvl.train.loop.fit` unchanged.
    """

    def rates(self) -> dict[str, float]:
        """Learning rates of parameters over that of the run, by the start of their names; 1 where none fits."""
        return {}

    def begin(self, progress: float) -> None:
        """Training starts, or goes on, at `progress` in [0, 1]. Nothing by default."""

    def after_step(self, progress: float) -> None:
        """Update what gradients do not (a teacher by moving average, say); `progress` in [0, 1]. Nothing by default."""

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Scalars for the log alone, of the batch that `forward` gets, under the same random numbers.

        Asked for at logging steps, without gradient. None by default.
        """
        return {}

    def compiled(self) -> list[nn.Module]:
        """Parts that torch.compile may take, each as one graph; those that forward calls and that have parts."""
        parts: list[nn.Module] = []
        for child in self.children():
            parts += child.children() if isinstance(child, nn.ModuleList) else [child]
        return [part for part in parts if any(True for _ in part.children())]
