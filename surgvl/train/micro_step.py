"""The computation on one micro-batch."""

import torch
from torch import Tensor, nn

from surgvl.train.contrastive import Contrastive
from surgvl.train.objective import Batch, Objective


class MicroStep(nn.Module):
    """The computation on one micro-batch: augmentation, monitor and losses, under one precision.

    Args:
        objective: what is trained.
        augment: clips uint8 [B, 3, T, H, W], and their aspect ratios if the batch has them -> float clips; or None.
    """

    def __init__(self, objective: Objective, augment: nn.Module | None):
        super().__init__()
        self.objective, self.augment = objective, augment

    def forward(
        self, batch: Batch, monitor: bool = False, embed: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of the batch and, if `monitor` is set, the scalars of the objective's monitor.

        With `embed`, the embeddings of a contrastive objective take the place of its losses.
        """
        if self.augment is not None and "video" in batch:
            batch = {**batch, "video": self.augment(batch["video"], batch.get("aspect"))}
        if embed:
            assert isinstance(self.objective, Contrastive)
            return self.objective.embed(batch), {}
        monitored: dict[str, Tensor] = {}
        if monitor:
            device = next(self.parameters()).device
            with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
                monitored = self.objective.monitor(batch)
        return self.objective(batch), monitored
