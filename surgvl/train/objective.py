"""The contract between an objective and the loop that trains it."""

from typing import Any

from torch import Tensor, nn

Batch = dict[str, Any]


class Objective(nn.Module):
    """A plain module whose forward turns a batch into losses.

    `forward(batch)` returns {"loss": scalar, name: scalar, ...}; it is deterministic under torch's seed, and
    `surgvl.train.loop.fit` trains it unchanged.
    """

    def lr_scales(self) -> dict[str, float]:
        """Prefix of parameter names -> factor on the run's learning rate; 1 for names without a prefix here."""
        return {}

    def decay_scales(self) -> dict[str, float]:
        """Prefix of parameter names -> factor on the run's weight decay; 1 for names without a prefix here."""
        return {}

    def undecayed(self) -> tuple[str, ...]:
        """Names of parameters of more than one dimension that have no weight decay."""
        return ()

    def begin(self, progress: float) -> None:
        """Called before the first step of a new or resumed run, at `progress` in [0, 1]; does nothing by default."""

    def update_ema(self, progress: float) -> None:
        """Update an EMA teacher after the optimizer's step; does nothing by default.

        Args:
            progress: share of the run's schedules before this step, in [0, 1): step / (schedule_scale * steps).
        """

    def after_step(self, progress: float) -> None:
        """Called after each step, with `progress` in (0, 1] of the steps; does nothing by default."""

    def monitor(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars for the log alone, of the batch that `forward` gets and under the same random numbers.

        Called at logging steps, without gradients. None by default.
        """
        return {}

    def modules_to_compile(self) -> list[nn.Module]:
        """Modules for torch.compile, one graph each; by default those that forward calls and that have children."""
        parts: list[nn.Module] = []
        for child in self.children():
            parts += child.children() if isinstance(child, nn.ModuleList) else [child]
        return [part for part in parts if any(True for _ in part.children())]
