"""Losses that compare all samples of a step, however its batch is cut over devices and in time.

Each micro-batch has the loss of the whole batch and the gradient through its own embeddings. A device gathers the
embeddings of the others. With several micro-batches on a device, a first pass without gradients embeds them all, so
that activations take the memory of one (GradCache, arXiv 2101.06983). As in open_clip, the second pass computes the
loss again for each micro-batch, where GradCache keeps its gradient: parameters of the comparison, such as a
temperature, then need no rule of their own, and next to two towers it costs little.
Shapes: n rows of a micro-batch, which may differ from one to another; E width.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from surgvl.train.distributed import gather_objects, gather_rows, rank
from surgvl.train.objective import Batch, Objective
from surgvl.train.samples import seed_generators

KEY = "whole_batch"  # where a micro-batch holds its `WholeBatch`


class Contrastive(Objective):
    """An objective whose loss compares the samples of a step with one another.

    A subclass has `embed`, `labels` and `compare`. On one device and without accumulation, `forward` is
    `compare(embed(batch), [labels(batch)])`.
    """

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Embeddings of a micro-batch by name, each float [n, E]; the same in both passes under the same seed."""
        raise NotImplementedError

    def labels(self, batch: Batch) -> Any:
        """What `compare` needs to know of a micro-batch besides its embeddings: a small Python value."""
        raise NotImplementedError

    def compare(self, embeddings: Mapping[str, Tensor], labels: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of a whole batch, as `forward` returns them.

        Args:
            embeddings: those of all micro-batches by name, one after another, [sum of n, E].
            labels: of all micro-batches, in the same order.
        """
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the whole batch, with the gradient through this micro-batch."""
        own = self.embed(batch)
        found: WholeBatch | None = batch.get(KEY)
        if found is None:
            (found,) = gather([own], [self.labels(batch)])
        return self.compare(found.joined(own), found.labels)


class WholeBatch:
    """Embeddings of all micro-batches of a step, as one of them sees them.

    Args:
        embeddings: name -> those of each micro-batch [n, E], without gradients.
        labels: of each micro-batch.
        number: which of them it is that sees them.
    """

    def __init__(self, embeddings: Mapping[str, Sequence[Tensor]], labels: Sequence[Any], number: int):
        self.embeddings, self.labels, self.number = embeddings, labels, number

    def joined(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All embeddings in the order of the batch, [sum of n, E], where only `own` [n, E] have gradients.

        The loop averages the gradients of M micro-batches, but each holds a share of the gradient through embeddings,
        whose sum is wanted: those are multiplied by M here.
        """
        count = len(self.labels)
        found = {}
        for name, rows in own.items():
            if rows.requires_grad and count > 1:
                rows.register_hook(lambda gradient: gradient * count)  # type: ignore[no-untyped-call]
            others = self.embeddings[name]
            found[name] = torch.cat([*others[: self.number], rows, *others[self.number + 1 :]])
        return found


def gather(own: Sequence[Mapping[str, Tensor]], labels: Sequence[Any]) -> list[WholeBatch]:
    """What each micro-batch of this rank sees of a step; all ranks together, without waiting for the device.

    Embeddings that are not finite are 0 for other micro-batches: a loss is not finite only where the fault lies.

    Args:
        own: embeddings of each micro-batch by name, [n, E].
        labels: of each micro-batch.
    """
    counts = {name: [len(part[name]) for part in own] for name in own[0]}
    found = gather_objects((counts, list(labels)))
    embeddings = {}
    for name in own[0]:
        rows = torch.cat([part[name].detach() for part in own]).nan_to_num(0.0, 0.0, 0.0)
        cuts = [counts[name] for counts, _ in found]
        ranks = zip(gather_rows(rows, [sum(cut) for cut in cuts]), cuts, strict=True)
        embeddings[name] = [part for rows, cut in ranks for part in torch.split(rows, cut)]
    all_labels = [label for _, labels in found for label in labels]
    return [WholeBatch(embeddings, all_labels, rank() * len(own) + micro) for micro in range(len(own))]


def embedded(
    fabric: Any, model: Any, objective: Contrastive, batches: Iterable[Batch], seeds: Sequence[int]
) -> list[Batch]:
    """The micro-batches of a step on this rank, each with what it sees of the others; the first of two passes.

    Args:
        fabric: of the run.
        model: `MicroStep` of the objective, set up by Fabric.
        objective: what is trained.
        batches: on the host; they stay there.
        seeds: of the random numbers of each.
    """
    batches, own = list(batches), []
    for batch, seed in zip(batches, seeds, strict=True):
        seed_generators(seed, fabric.device)
        with torch.no_grad():
            embeddings, _ = model(fabric.to_device(batch), embed=True)
        own.append(embeddings)
    whole = gather(own, [objective.labels(batch) for batch in batches])
    return [{**batch, KEY: each} for batch, each in zip(batches, whole, strict=True)]
