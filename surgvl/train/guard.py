"""Guards against loss spikes and non-finite values in long runs, without reading from the device at every step.

Shapes: all values are scalars on the device; W losses are remembered.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from surgvl.core.errors import DataError
from surgvl.train.distributed import all_reduce_min, gather_objects, local_tensor

# V-JEPA 2.1 gives up after this many skipped steps in a row.
MAX_SKIPPED_IN_A_ROW = 10


class SpikeGuard:
    """Finds loss spikes, as in V-JEPA 2.1: losses more than k standard deviations above the mean of the last W.

    Computed on the device. No step is skipped until W losses have been seen. A spike does not enter the window, so a
    loss that stays high is noticed; V-JEPA 2.1 does not say whether spikes enter its window.

    Args:
        num_std: k.
        window: W; 300 in V-JEPA 2.1.
    """

    def __init__(self, num_std: float, window: int = 300):
        self.num_std = num_std
        self.losses = torch.zeros(window)
        # Losses seen so far; skipped steps: in total, in a row until now, in the longest row since the last check.
        self.counts = torch.zeros(4, dtype=torch.int64)

    def judge(self, loss: Tensor) -> Tensor:
        """Record the loss of a step.

        Args:
            loss: scalar, the same on all ranks.

        Returns:
            float32 scalar on the loss's device: 1 if the step is to be skipped, else 0.
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
        """Total number of skipped steps. Waits for the device.

        Raises:
            DataError: since the last check, too many were skipped in a row.
        """
        seen, skipped, row, longest = self.counts.tolist()
        self.counts = torch.tensor([seen, skipped, row, row], device=self.counts.device)
        if longest >= MAX_SKIPPED_IN_A_ROW:
            raise DataError(
                f"{longest} steps in a row were skipped up to step {step}, because their losses are more than "
                f"{self.num_std:g} standard deviations above the last {len(self.losses)}: lower --optim.lr, inspect "
                "the videos, or raise --run.skip_loss_std; the last checkpoint is kept"
            )
        return int(skipped)

    def state_dict(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {"losses": self.losses, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """From the checkpoint."""
        self.losses, self.counts = state["losses"].clone(), state["counts"].clone()


class NonFiniteCheck:
    """Keeps the loss and gradient norm of every step on the device until they are checked."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int, Sequence[str], Tensor]] = []

    def note(self, name: str, step: int, video_ids: Sequence[str], value: Tensor) -> None:
        """Keep a scalar until the next `check`."""
        self.noted.append((name, step, video_ids, value.detach().float()))

    def check(self) -> None:
        """Check all values noted since the last check; all ranks must call this. Waits for the device.

        Raises:
            DataError: a number is not finite; the message names the videos of the ranks where it is not.
        """
        noted, self.noted = self.noted, []
        if not noted:
            return
        values = torch.stack([value for *_, value in noted])
        good = all_reduce_min(values.isfinite().int()).tolist()
        if all(good):
            return
        name, step, video_ids, value = noted[good.index(0)]
        found: list[tuple[float, list[str]]] = gather_objects((float(value), sorted(set(video_ids))))
        bad = [(number, ids) for number, ids in found if not torch.tensor(number).isfinite()]
        named = sorted({video_id for _, ids in bad for video_id in ids})
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        raise DataError(
            f"{name} is {bad[0][0]} at step {step}, in a batch of {', '.join(named[:4]) or 'unnamed clips'}{more}: "
            "inspect these videos, or lower the learning rate (--optim.lr or --lr); the last checkpoint is kept"
        )


def check_weights(weights: Iterable[Tensor], step: int) -> None:
    """Refuse weights that are not finite; all ranks must call this. Waits for the device.

    Raises:
        DataError: some are not.
    """
    # The maximum norm of a tensor is finite only if all of it is; a rank may hold nothing of a small sharded tensor.
    parts = [part for each in weights if (part := local_tensor(each.detach())).numel()]
    good = torch.stack([size.isfinite() for size in torch._foreach_norm(parts, ord=float("inf"))]).all()
    if not bool(all_reduce_min(good.int())):
        raise DataError(
            f"weights are not finite after step {step}: they are not saved and the last checkpoint is kept; lower "
            "--optim.lr"
        )
