"""Train a readout on tokens, with the training loop of all stages: AdamW, warm-up and a cosine schedule to zero.

Softmax cross-entropy if exactly one class is right, binary cross-entropy if several may be; unknown labels are ignored.
Shapes: N clips, B clips of a step, K tokens, D width, C classes of a head.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from surgvl.core.errors import ConfigError
from surgvl.probe.base import Readout
from surgvl.probe.labels import Truth
from surgvl.train.config import Optim, Run
from surgvl.train.loop import fit
from surgvl.train.objective import Objective


def loss_of(scores: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
    """Sum over the heads of the mean loss over known labels.

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


class Probe(Objective):
    """Loss of a readout on the tokens of a frozen encoder.

    Args:
        readout: trained in place.
    """

    def __init__(self, readout: Readout):
        super().__init__()
        self.readout = readout

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `tokens` float16 [B, K, D] and `truth`, as `loss_of` takes it."""
        return {"loss": loss_of(self.readout(batch["tokens"]), batch["truth"])}


class Rows(Dataset[dict[str, int]]):
    """Endless row numbers of N clips: one permutation after another.

    Args:
        num_clips: N.
        seed: of the permutations.
    """

    def __init__(self, num_clips: int, seed: int):
        self.num_clips, self.generator = num_clips, np.random.default_rng(seed)
        self.order = np.empty(0, np.int64)

    def __getitem__(self, index: int) -> dict[str, int]:
        """`row` of sample `index`."""
        while index >= len(self.order):
            self.order = np.concatenate([self.order, self.generator.permutation(self.num_clips)])
        return {"row": int(self.order[index])}


def train(
    readout: Readout,
    tokens: NDArray[np.float16],
    truth: Truth,
    out: Path,
    steps: int,
    batch: int,
    lr: float,
    weight_decay: float,
    seed: int,
) -> list[float]:
    """Train a readout in place, on the kind of device that it is on.

    Args:
        readout: what is trained.
        tokens: float16 [N, K, D], in memory or memory-mapped.
        truth: labels of the N clips by head.
        out: run folder of the training.
        steps: optimizer steps.
        batch: clips of a step.
        lr: peak learning rate.
        weight_decay: weight decay of matrices.
        seed: of the order of the clips.

    Returns:
        Loss of the first step, of about 20 others, and of the last one.

    Raises:
        ConfigError: a number that no training can have.
        DataError: the loss is not finite.
    """
    if steps < 1 or batch < 1 or not lr > 0 or not weight_decay >= 0:
        raise ConfigError(
            f"--steps and --batch must be >= 1, --lr > 0 and --weight_decay >= 0, got {steps}, {batch}, {lr} and "
            f"{weight_decay}"
        )

    def collate(samples: Sequence[dict[str, int]]) -> dict[str, Any]:
        rows = np.sort([sample["row"] for sample in samples])  # in the order of the file that tokens may be mapped from
        answers = {head: torch.from_numpy(truth[head][rows]) for head in readout.classes}
        return {"tokens": torch.from_numpy(tokens[rows]), "truth": answers}

    device = next(readout.parameters()).device
    readout.prepare(tokens)
    readout.train()
    optim = Optim(lr=lr, weight_decay=weight_decay, min_lr_ratio=0.0, clip_norm=0.0)
    often = max(1, steps // 20)
    place: dict[str, Any] = {"accelerator": device.type, "precision": "32-true"}
    run = Run(steps=steps, batch=batch, seed=seed, log_every=often, save_every=steps, **place)
    fit(Probe(readout), Rows(len(tokens), seed), collate, out, optim, run, name="readout")
    readout.to(device)
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


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
