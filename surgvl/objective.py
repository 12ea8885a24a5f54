"""The contract between what is trained and the loop that trains it."""

from torch import nn


class Objective(nn.Module):
    """A plain module whose forward turns a batch into losses.

    `forward(batch)` returns {"loss": scalar, name: scalar, ...}; deterministic under torch's seed; trained by
    `surgvl.train.fit` unchanged.
    """

    def rates(self) -> dict[str, float]:
        """Learning rates of parameters over that of the run, by the start of their names; 1 where none fits."""
        return {}

    def after_step(self, progress: float) -> None:
        """Update what gradients do not (a teacher by moving average, say); `progress` in [0, 1]. Nothing by default."""
