"""Trains a readout on tokens: AdamW, warm-up and cosine to zero, every step a function of the seed.

Softmax cross-entropy where one class is right, binary cross-entropy where several may be; what is not known is left
out. Shapes: N clips, B clips of a step, K tokens, D width, C classes of a head.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from surgvl.core.errors import ConfigError, DataError
from surgvl.probe.base import Readout
from surgvl.probe.labels import Truth
from surgvl.train.config import Optim
from surgvl.train.optimizer import build_optimizer

WARMUP = 0.05


def loss_of(scores: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
    """Sum over the heads of their mean loss over what is known.

    Args:
        scores: float32 [B, C] by head.
        truth: int64 [B], class or -1; or int64 [B, C] of 0, 1 and -1, by head.

    Returns:
        Scalar.
    """
    total = torch.zeros((), device=next(iter(scores.values())).device)
    for head, values in scores.items():
        asked = truth[head]
        known, answer = asked >= 0, asked.clamp(min=0)
        if asked.ndim == 1:
            each = F.cross_entropy(values, answer, reduction="none")
        else:
            each = F.binary_cross_entropy_with_logits(values, answer.to(values.dtype), reduction="none")
        total = total + (each * known).sum() / known.sum().clamp(min=1)
    return total


def batches(num_clips: int, steps: int, batch: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers of each step: one permutation of the N clips after another, ascending within a step."""
    generator = np.random.default_rng(seed)
    order = np.empty(0, np.int64)
    for _ in range(steps):
        while len(order) < batch:
            order = np.concatenate([order, generator.permutation(num_clips)])
        yield np.sort(order[:batch])
        order = order[batch:]


def train(
    readout: Readout,
    tokens: NDArray[np.float16],
    truth: Truth,
    steps: int,
    batch: int,
    lr: float,
    weight_decay: float,
    seed: int,
) -> list[float]:
    """Train a readout in place, on its device.

    Args:
        readout: what is trained.
        tokens: float16 [N, K, D], in memory or memory-mapped.
        truth: labels of the N clips by head.
        steps: optimizer steps.
        batch: clips of a step.
        lr: peak learning rate.
        weight_decay: of matrices.
        seed: of the order of the clips.

    Returns:
        Loss of each step.

    Raises:
        ConfigError: a number that no training can have.
        DataError: the loss is not finite.
    """
    if steps < 1 or batch < 1 or not lr > 0 or not weight_decay >= 0:
        raise ConfigError(
            f"--steps {steps}, --batch {batch}, --lr {lr}, --weight_decay {weight_decay}: give a step and a clip or "
            "more, a learning rate above 0 and a decay of 0 or more"
        )
    device = next(readout.parameters()).device
    answers = {head: torch.from_numpy(truth[head]).to(device) for head in readout.classes}
    optimizer = build_optimizer(readout.named_parameters(), {}, Optim(lr=lr, weight_decay=weight_decay))
    readout.prepare(tokens)
    readout.train()
    losses = []
    for step, rows in enumerate(batches(len(tokens), steps, batch, seed)):
        for group in optimizer.param_groups:
            group["lr"] = lr * _share(step, steps)
        picked = torch.from_numpy(rows).to(device)
        scores = readout(torch.from_numpy(tokens[rows]).to(device))
        loss = loss_of(scores, {head: values[picked] for head, values in answers.items()})
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    found: list[float] = torch.stack(losses).tolist()
    if not math.isfinite(found[-1]):
        raise DataError(f"the readout's loss is {found[-1]} after {steps} steps: give a smaller --lr than {lr}")
    return found


def predict(readout: Readout, tokens: NDArray[np.float16], batch: int = 256) -> dict[str, NDArray[np.float32]]:
    """Scores of clips: tokens float16 [N, K, D] -> float32 [N, C] by head."""
    device = next(readout.parameters()).device
    readout.eval()
    found: dict[str, list[NDArray[np.float32]]] = {head: [] for head in readout.classes}
    with torch.inference_mode():
        for at in range(0, len(tokens), batch):
            scores = readout(torch.from_numpy(np.array(tokens[at : at + batch])).to(device))
            for head, values in scores.items():
                found[head].append(values.float().cpu().numpy())
    return {head: np.concatenate(parts) for head, parts in found.items()}


def _share(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine to zero."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
