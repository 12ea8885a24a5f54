"""Train readouts on tokens, with the training loop of all stages: AdamW, warm-up and a cosine schedule to zero.

Several learning rates and weight decays are trained at once, as V-JEPA 2 does (arXiv 2506.09985): the tokens are read
once, every readout of the grid takes the same batches, and none influences another.
Shapes: N clips, B clips of a step, K tokens, D width, C classes of a head.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import Dataset

from surgvl.core.errors import ConfigError, DataError
from surgvl.probe.base import Readout
from surgvl.probe.labels import Truth, labelled
from surgvl.train.config import Optim, Run
from surgvl.train.objective import Objective

# Values of tokens (of a step, times the readouts of a grid; of a prediction) beyond which memory is saved: a readout
# keeps some fifty values for each.
LARGE = 2**26


class Grid(Objective):
    """Sum of the losses of readouts that share batches and nothing else.

    Where the tokens of a step are many, a readout's activations are computed again for its gradient, so that memory is
    that of one readout at a time.

    Args:
        readouts: trained in place.
        rates: learning rate of each, as a multiple of the run's.
        decays: weight decay of each, likewise.
    """

    def __init__(self, readouts: Sequence[Readout], rates: Sequence[float], decays: Sequence[float]):
        super().__init__()
        self.readouts = nn.ModuleList(readouts)
        self.rates, self.decays = list(rates), list(decays)

    def lr_scales(self) -> dict[str, float]:
        """The rate of each readout."""
        return {f"readouts.{at}.": rate for at, rate in enumerate(self.rates)}

    def decay_scales(self) -> dict[str, float]:
        """The decay of each readout."""
        return {f"readouts.{at}.": decay for at, decay in enumerate(self.decays)}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of a batch with `tokens` float16 [B, K, D] and `truth`, labels by head."""
        losses: list[Tensor] = []
        tokens, truth = batch["tokens"], batch["truth"]
        for readout in self.readouts:
            assert isinstance(readout, Readout)
            if len(self.readouts) * tokens.numel() > LARGE:
                losses.append(checkpoint(readout.loss, tokens, truth, use_reentrant=False))
            else:
                losses.append(readout.loss(tokens, truth))
        return {"loss": torch.stack(losses).sum(), **{f"loss_{at}": loss for at, loss in enumerate(losses)}}


class Rows(Dataset[dict[str, int]]):
    """Endless row numbers of N clips (or videos): one permutation after another.

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


def by_video(video_ids: Sequence[str], times_s: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Rows of each video in temporal order, videos in the order of their names."""
    names, videos = np.unique(np.asarray(video_ids, np.str_), return_inverse=True)
    order = np.lexsort((times_s, videos))
    edges = np.searchsorted(videos[order], np.arange(1, len(names)))
    return np.split(order, edges)


def train(
    readout: Readout,
    tokens: NDArray[np.float16],
    truth: Truth,
    out: Path,
    steps: int,
    batch: int,
    lrs: Sequence[float],
    weight_decays: Sequence[float],
    seed: int,
    videos: Sequence[NDArray[np.int64]] = (),
) -> tuple[list[Readout], list[float]]:
    """Train a readout for each learning rate and weight decay, from equal initial weights, on the device that it is on.

    Args:
        readout: untrained; with one rate and one decay it is trained in place. One that has no steps, such as nearest
            neighbours, is only prepared.
        tokens: float16 [N, K, D], in memory or memory-mapped.
        truth: labels of the N clips by head; clips without any, and videos of such clips, are not trained on.
        out: run folder of the training.
        steps: optimizer steps.
        batch: clips of a step; a readout that sees a video takes one video a step instead.
        lrs: peak learning rates.
        weight_decays: weight decays of matrices.
        seed: of the order of the clips, and of dropout.
        videos: rows of each video in temporal order (`by_video`), for a readout that sees more than a clip.

    Returns:
        The readouts, rate by rate, each with every decay; and the loss of the first step, of about 20 others, and of
        the last one: the sum over the readouts.

    Raises:
        ConfigError: a number that no training can have.
        DataError: no clip has a label, or the loss is not finite.
    """
    readout.prepare(tokens, truth)
    if not readout.steps:
        return [readout.eval()], []
    cells = list(product(lrs, weight_decays))
    if steps < 1 or batch < 1 or not cells or not all(lr > 0 and decay >= 0 for lr, decay in cells):
        raise ConfigError(
            f"--fit.steps and --fit.batch must be >= 1, --fit.lr > 0 and --fit.weight_decay >= 0, got {steps}, "
            f"{batch}, {_listed(lrs)} and {_listed(weight_decays)}"
        )
    whole = readout.sees != "clip"
    if whole and not videos:
        raise ConfigError(f"readout {readout.name} sees videos: give the rows of each")
    is_labelled = labelled(truth)
    shown, clips = [own for own in videos if is_labelled[own].any()], np.flatnonzero(is_labelled)
    if not len(clips):
        raise DataError("no training clip has a label of these kinds: check the manifest and --heads")

    def collate(samples: Sequence[dict[str, int]]) -> dict[str, Any]:
        # In the order of the file that tokens may be mapped from.
        rows = shown[samples[0]["row"]] if whole else np.sort(clips[[sample["row"] for sample in samples]])
        answers = {head.name: torch.from_numpy(truth[head.name][rows]) for head in readout.asked}
        return {"tokens": torch.from_numpy(np.asarray(tokens[rows])), "truth": answers}

    # Lightning, which an extra installs, takes seconds to import, and models with a readout do without.
    from surgvl.train.loop import fit

    device = device_of(readout)
    readouts = [readout, *(deepcopy(readout) for _ in cells[1:])]
    rate, decay = max(lrs), max(weight_decays)
    # Gradients are not clipped, because a common norm would couple the readouts.
    optim = Optim(lr=rate, weight_decay=decay, min_lr_ratio=0.0, clip_norm=0.0)
    often = max(1, steps // 20)
    place: dict[str, Any] = {"accelerator": device.type, "precision": "32-true"}
    run = Run(steps=steps, batch=1 if whole else batch, seed=seed, log_every=often, save_every=steps, **place)
    grid = Grid(readouts, [lr / rate for lr, _ in cells], [each / decay if decay else 1.0 for _, each in cells])
    fit(grid.train(), Rows(len(shown if whole else clips), seed), collate, out, optim, run, name="readout")
    for each in readouts:
        each.to(device).eval()
    return readouts, [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def predict(
    readout: Readout,
    tokens: NDArray[np.float16],
    videos: Sequence[NDArray[np.int64]] = (),
    batch: int = 256,
) -> dict[str, NDArray[np.float32]]:
    """Logits of clips.

    Args:
        readout: trained.
        tokens: float16 [N, K, D].
        videos: rows of each video in temporal order, N in all, for a readout that sees more than a clip.
        batch: clips at once at most, for one that does not; fewer where a clip has many tokens.

    Returns:
        float32 [N, C] by head.
    """
    device = device_of(readout)
    readout.eval()
    batch = max(1, min(batch, LARGE // max(1, tokens[0].size))) if len(tokens) else batch
    parts = [np.arange(at, min(at + batch, len(tokens))) for at in range(0, len(tokens), batch)]
    found = {head.name: np.empty((len(tokens), head.size), np.float32) for head in readout.asked}
    with torch.inference_mode():
        for rows in parts if readout.sees == "clip" else videos:
            for head, values in readout(torch.from_numpy(np.array(tokens[rows])).to(device)).items():
                found[head][rows] = values.float().cpu().numpy()
    return found


def device_of(readout: Readout) -> torch.device:
    """The device of a readout's weights or memory."""
    return next(chain(readout.parameters(), readout.buffers())).device


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
