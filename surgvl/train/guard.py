"""What keeps a long run from spoiling its weights, without a look at the device at every step.

Shapes: all values are scalars on the device; W losses are remembered.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from surgvl.core.errors import DataError
from surgvl.train.distributed import gather_objects, least_over_ranks, local

# V-JEPA 2.1 gives up after as many steps left out one after another.
MOST_SKIPPED = 10


class SpikeGuard:
    """Finds losses that stand out, as in V-JEPA 2.1: more than k deviations above the mean of the last W = 300.

    Judged on the device. Until W losses were seen none stands out. A loss that does is not remembered, so that a run
    that stays high is noticed; V-JEPA 2.1 does not say whether its is.

    Args:
        num_std: k.
        window: W.
    """

    def __init__(self, num_std: float, window: int = 300):
        self.num_std = num_std
        self.losses = torch.zeros(window)
        # Losses remembered so far; steps left out: in all, in a row until now, in the longest row since the last read.
        self.counts = torch.zeros(4, dtype=torch.int64)

    def judge(self, loss: Tensor) -> Tensor:
        """Take up a step's loss.

        Args:
            loss: scalar, the same on all ranks.

        Returns:
            float32 scalar on the loss's device: 1 where the step is to be left out, else 0.
        """
        loss = loss.detach().float()
        self.losses, self.counts = self.losses.to(loss.device), self.counts.to(loss.device)
        seen, skipped, row, longest = self.counts.unbind()
        window = len(self.losses)
        std, mean = torch.std_mean(self.losses, correction=0)
        spike = (seen >= window) & (loss > mean + self.num_std * std)
        keep = ~spike & loss.isfinite()
        here = torch.arange(window, device=loss.device) == seen % window
        self.losses = torch.where(here & keep, loss, self.losses)
        row = torch.where(spike, row + 1, 0)
        self.counts = torch.stack([seen + keep, skipped + spike, row, torch.maximum(longest, row)])
        return spike.float()

    def check(self, step: int) -> int:
        """Steps left out in all. Waits for the device.

        Raises:
            DataError: since the last check, too many were left out one after another.
        """
        seen, skipped, row, longest = self.counts.tolist()
        self.counts = torch.tensor([seen, skipped, row, row], device=self.counts.device)
        if longest >= MOST_SKIPPED:
            raise DataError(
                f"{longest} steps one after another were left out up to step {step}, their losses being more than "
                f"{self.num_std:g} deviations above the last {len(self.losses)}: lower --optim.lr, look at the videos, "
                f"or raise --run.spike; the last checkpoint is kept"
            )
        return int(skipped)

    def state_dict(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {"losses": self.losses, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """From the checkpoint."""
        self.losses, self.counts = state["losses"].clone(), state["counts"].clone()


class Watch:
    """Keeps every step's loss and gradient norm on the device, and looks at them when asked."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int, Sequence[str], Tensor]] = []

    def note(self, what: str, step: int, video_ids: Sequence[str], value: Tensor) -> None:
        """Remember a scalar until the next `check`."""
        self.noted.append((what, step, video_ids, value.detach().float()))

    def check(self) -> None:
        """Look at what was noted since the last time; all ranks together. Waits for the device.

        Raises:
            DataError: a number is not finite; the message names the videos of the ranks on which it is not.
        """
        noted, self.noted = self.noted, []
        if not noted:
            return
        values = torch.stack([value for *_, value in noted])
        good = least_over_ranks(values.isfinite().int()).tolist()
        if all(good):
            return
        first = good.index(0)
        what, step, ids, value = noted[first]
        found: list[tuple[float, list[str]]] = gather_objects((float(value), sorted(set(ids))))
        bad = [(number, names) for number, names in found if not torch.tensor(number).isfinite()]
        named = sorted({name for _, names in bad for name in names})
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        raise DataError(
            f"{what} is {bad[0][0]} at step {step}, in a batch of {', '.join(named[:4]) or 'unnamed clips'}{more}: "
            f"look at these videos, or lower --optim.lr; the last checkpoint is kept"
        )


def check_weights(weights: Iterable[Tensor], step: int) -> None:
    """Refuse weights that hold what is not a number; all ranks together. Waits for the device.

    Raises:
        DataError: they do.
    """
    # The largest size in a part is not finite where any number in it is not; a process may hold nothing of a small one.
    parts = [part for each in weights if (part := local(each.detach())).numel()]
    good = torch.stack([size.isfinite() for size in torch._foreach_norm(parts, ord=float("inf"))]).all()
    if not bool(least_over_ranks(good.int())):
        raise DataError(
            f"weights are not finite after step {step}: no checkpoint is written of them and the last one is kept; "
            f"lower --optim.lr"
        )
