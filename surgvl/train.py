"""The one training loop: any `Objective` under Lightning, with resume to the same weights.

Linear warm-up and cosine decay by step. A step depends on nothing but (seed, step): data by index,
random numbers reseeded at each step; so a run that was killed and resumed ends with the weights of one that was not.
No value is read from the device except every `log_every` steps.
"""

import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from surgvl.errors import CheckpointError, ConfigError, DataError
from surgvl.io import append_jsonl
from surgvl.objective import Objective
from surgvl.optimiser import build_optimiser
from surgvl.settings import Optim, Run, precision

try:
    import lightning.pytorch as pl
except ImportError as error:
    raise ConfigError("training needs lightning, which is not installed: pip install 'surgvl[train]'") from error


class StepSampler(Sampler[list[int]]):
    """Batches of sample numbers from a step on; rank r of w takes its slice of each batch. As long as the run."""

    def __init__(self, steps: int, batch: int, start: int, rank: int, world: int):
        self.steps, self.batch, self.start = steps, batch, start
        self.mine = range(batch * rank // world, batch * (rank + 1) // world)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            yield [step * self.batch + slot for slot in self.mine]


class Fit(pl.LightningModule):
    """Lightning's face of an objective.

    Args:
        objective: what is trained.
        data: map-style, endless; sample i is a pure function of i.
        collate: list of samples -> batch.
        augment: batch of clips uint8 -> float on the device, or None.
        optim: optimiser settings.
        run: run settings.
        log: metrics.jsonl.
    """

    def __init__(
        self,
        objective: Objective,
        data: Dataset[Any],
        collate: Any,
        augment: nn.Module | None,
        optim: Optim,
        run: Run,
        log: Path,
    ):
        super().__init__()
        self.objective, self.data, self.collate, self.augment = objective, data, collate, augment
        self.optim, self.settings, self.log_file = optim, run, log
        self._clock = (0, time.perf_counter())

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the current step on."""
        run, trainer = self.settings, self.trainer
        sampler = StepSampler(run.steps, run.batch, trainer.global_step, trainer.global_rank, trainer.world_size)
        return DataLoader(self.data, batch_sampler=sampler, collate_fn=self.collate, num_workers=run.workers)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, or Muon and AdamW; see `build_optimiser`."""
        return build_optimiser(self.objective.named_parameters(), self.objective.rates(), self.optim)

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a half cosine to the floor."""
        optim, steps = self.optim, self.settings.steps
        warm = max(1, round(optim.warmup * steps))
        if step < warm:
            return optim.lr * (step + 1) / warm
        along = (step - warm) / max(1, steps - warm)
        return optim.lr * (optim.floor + (1 - optim.floor) * 0.5 * (1 + math.cos(math.pi * along)))

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """One step; reseeds first, so that masks and augmentation depend on (seed, step, rank) only."""
        step = self.trainer.global_step
        torch.manual_seed((self.settings.seed * 1_000_003 + step) * 4096 + self.trainer.global_rank)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["rate"] * self.learning_rate(step)
        if self.augment is not None and "video" in batch:
            batch = {**batch, "video": self.augment(batch["video"])}
        losses: dict[str, Tensor] = self.objective(batch)
        if step % self.settings.log_every == 0 or step == self.settings.steps - 1:
            self._write(step, losses, batch)
        return losses["loss"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient norm; Lightning's own clipping refuses fused optimisers under mixed precision."""
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), self.optim.clip_norm, foreach=True)

    def _write(self, step: int, losses: dict[str, Tensor], batch: dict[str, Any]) -> None:
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(values["loss"]):
            ids = sorted({str(video_id) for video_id in batch.get("video_id", [])})
            raise DataError(
                f"loss is {values['loss']} at step {step}, in a batch of {', '.join(ids[:4])}: look at these videos, "
                f"or lower --optim.lr; the last checkpoint is kept"
            )
        if self.trainer.is_global_zero:
            before, then = self._clock
            now = time.perf_counter()
            rate = (step - before) * self.settings.batch / max(1e-9, now - then) if step > before else 0.0
            self._clock = (step, now)
            lr = self.learning_rate(step)
            append_jsonl(self.log_file, {"step": step, **values, "lr": lr, "clips_per_s": round(rate, 2)})

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the objective update what gradients do not."""
        self.objective.after_step(self.trainer.global_step / self.settings.steps)


class _Keep(pl.Callback):
    """Checkpoint at every `save_every` steps, replaced by renaming; and the progress bar."""

    def __init__(self, path: Path, every: int, name: str):
        self.path, self.every, self.name = path, every, name
        self.bar: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        run = pl_module.settings
        off = not trainer.is_global_zero
        start = trainer.global_step
        self.bar = tqdm(total=run.steps, initial=start, desc=self.name, unit="step", disable=off or None, leave=False)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.bar.update(1)
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def save(self, trainer: Any) -> None:
        """Write the checkpoint beside, then rename it."""
        temporary = self.path.with_name(".last.ckpt.tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.bar.close()
        self.save(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.close()


def fit(
    objective: Objective,
    data: Dataset[Any],
    collate: Any,
    out: Path,
    optim: Optim,
    run: Run,
    augment: nn.Module | None = None,
    name: str = "training",
    callbacks: Sequence[Any] = (),
) -> None:
    """Train an objective; goes on from `out/checkpoints/last.ckpt` where that is there.

    Args:
        objective: trained in place.
        data: map-style, endless; sample i is a pure function of i.
        collate: list of samples -> batch.
        out: run folder; `metrics.jsonl` and `checkpoints/` are written into it.
        optim: optimiser settings.
        run: run settings.
        augment: on the device, or None.
        name: shown beside the progress bar.
        callbacks: further Lightning callbacks.

    Raises:
        CheckpointError: the checkpoint does not fit the objective.
        DataError: the loss is not finite.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    last = out / "checkpoints" / "last.ckpt"
    module = Fit(objective, data, collate, augment, optim, run, out / "metrics.jsonl")
    torch.manual_seed(run.seed)
    with warnings.catch_warnings():
        # Lightning advises more workers and a logger; both are chosen here on purpose.
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|lightning|Lightning).*")
        trainer = pl.Trainer(
            accelerator="auto",
            devices=run.devices,
            num_nodes=run.nodes,
            precision=precision(run.precision),  # type: ignore[arg-type]
            max_steps=run.steps,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[_Keep(last, run.save_every, name), *callbacks],
        )
        try:
            trainer.fit(module, ckpt_path=last if last.is_file() else None, weights_only=True)
        except (RuntimeError, KeyError) as error:
            if "state_dict" in str(error):
                raise CheckpointError(f"{last} does not fit this model: give another --out, or delete it") from error
            raise
