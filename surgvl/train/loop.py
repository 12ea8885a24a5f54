"""The one training loop: any `Objective` under Lightning, with resume to the same weights.

A step depends on nothing but (seed, step): data by index, random numbers reseeded at each part of each step; so a run
that was killed and resumed ends with the weights of one that was not. No value is read from a device but at logging and
saving steps.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from surgvl.core.errors import ConfigError, DataError
from surgvl.train.checkpoint import check_checkpoint
from surgvl.train.config import Optim, Run, precision
from surgvl.train.damage import Collate, Problems, Replacing
from surgvl.train.distributed import agree_on_stops, blocks, mean_over_ranks, shard, unshard, whole
from surgvl.train.guard import SpikeGuard, Watch, check_weights
from surgvl.train.loggers import LOGS, Log, Pace, check_logger
from surgvl.train.objective import Objective
from surgvl.train.optimizer import MuonAdamW, build_optimiser
from surgvl.train.sampler import StepSampler, part_seed
from surgvl.train.schedule import learning_rate, set_rates

try:
    import lightning.pytorch as pl
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
except ImportError as error:
    raise ConfigError("training needs lightning, which is not installed: pip install 'surgvl[train]'") from error


class Fit(pl.LightningModule):
    """Lightning's face of an objective.

    Args:
        objective: what is trained.
        data: samples that tell which videos they found damaged.
        collate: list of these -> batch.
        augment: batch of clips uint8 -> float on the device, or None.
        optim: optimiser settings.
        run: run settings.
        out: run folder.
    """

    def __init__(
        self,
        objective: Objective,
        data: Replacing,
        collate: Collate,
        augment: nn.Module | None,
        optim: Optim,
        run: Run,
        out: Path,
    ):
        super().__init__()
        self.objective, self.data, self.collate, self.augment = objective, data, collate, augment
        self.optim, self.settings, self.out = optim, run, out
        self.watch, self.pace, self.problems = Watch(), Pace(), Problems()
        self.guard = SpikeGuard(run.spike) if run.spike else None
        self.log_file: Log | None = None
        self._ids: list[str] = []
        self._sums: dict[str, Tensor] = {}
        self._facts: dict[str, list[Tensor]] = {}  # some are not there in each part of a step, or on each device
        self._ready = False

    def configure_model(self) -> None:
        """Compile in place, which leaves all names as they are; split the model over devices where asked to."""
        if self._ready:
            return
        self._ready = True
        split = self.settings.strategy == "fsdp"
        for part in self.objective.compiled() if self.settings.compile else []:
            # Gathering a block's parameters cannot be part of a graph, so a split model is compiled block by block.
            for each in (split and blocks(part)) or [part]:
                each.compile()
        if split:
            assert self.device_mesh is not None
            shard(self.objective, self.device_mesh["data_parallel"], ("monitor",))

    def on_train_start(self) -> None:
        """Open the log on the process that writes it."""
        step = self.trainer.global_step
        self.objective.begin(step / self.settings.steps)
        if self.trainer.is_global_zero:
            self.log_file = LOGS[self.settings.logger](self.out, step)
        self.pace.start(step)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the current step on."""
        run, at = self.settings, self.trainer
        sampler = StepSampler(run.steps, run.batch, at.global_step, at.global_rank, at.world_size, run.accumulate)
        return DataLoader(self.data, batch_sampler=sampler, collate_fn=self.collate, num_workers=run.workers)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, or Muon and AdamW; see `build_optimiser`."""
        fused = self.settings.precision != "16-mixed"
        optimiser = build_optimiser(self.objective.named_parameters(), self.objective.rates(), self.optim, fused)
        if isinstance(optimiser, MuonAdamW) and self.settings.strategy == "fsdp":
            raise ConfigError("--optim.muon needs whole matrices, which fsdp splits: take ddp, or --optim.muon 0")
        return optimiser

    def logs(self, step: int) -> bool:
        """Whether a step is written to the log."""
        return step % self.settings.log_every == 0 or step == self.settings.steps - 1

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Count the time that was spent waiting for data."""
        self.pace.begin_part()

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """One part of a step; reseeds first, so that masks and augmentation depend on (seed, step, part) only."""
        run, step, micro = self.settings, self.trainer.global_step, index % self.settings.accumulate
        torch.manual_seed(part_seed(run.seed, step, self.trainer.global_rank * run.accumulate + micro))
        if micro == 0:
            set_rates(self.trainer.optimizers[0].param_groups, step, run.steps, self.optim)
            self._ids, self._sums, self._facts = [], {}, {}
        batch = self.problems.take(batch)
        ids = [str(video_id) for video_id in batch.get("video_id", [])]
        self._ids += ids
        if self.augment is not None and "video" in batch:
            batch = {**batch, "video": self.augment(batch["video"])}
        if self.logs(step):
            self.watch.check()
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []), torch.no_grad():
                for name, value in self.objective.monitor(batch).items():
                    self._facts.setdefault(name, []).append(value)
        losses: dict[str, Tensor] = self.objective(batch)
        self.watch.note("loss", step, ids, losses["loss"])
        for name, value in (losses if self.logs(step) else {"loss": losses["loss"]}).items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().float() / run.accumulate
        return losses["loss"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient norm and leave out the step where its loss stands out, all on the device.

        Lightning's own clipping refuses fused optimisers under mixed precision.
        """
        trained = [each for each in self.objective.parameters() if each.grad is not None]
        gradients = [each.grad for each in trained if each.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients, foreach=True))
        if self.optim.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(trained, self.optim.clip_norm, norm, foreach=True)
        self.watch.note("gradient norm", self.trainer.global_step, self._ids, norm)
        if self.guard is not None:
            # The mechanism by which gradient scalers leave out a step: torch's fused kernels look at it on the device.
            optimizer.found_inf = self.guard.judge(mean_over_ranks(self._sums["loss"]))  # type: ignore[attr-defined]

    def finish_step(self) -> None:
        """After the optimiser: what gradients do not update, and the log."""
        done = self.trainer.global_step
        self.objective.after_step(done / self.settings.steps)
        if self.logs(done - 1):
            self._write(done - 1)

    def _write(self, step: int) -> None:
        self.watch.check()
        values = dict(zip(self._sums, mean_over_ranks(torch.stack(list(self._sums.values()))).tolist(), strict=True))
        values |= {name: sum(map(float, found)) / len(found) for name, found in self._facts.items()}
        if self.guard is not None:
            values["skipped"] = self.guard.check(step)
        if self.log_file is not None:
            lr = learning_rate(step, self.settings.steps, self.optim)
            self.log_file.write({"step": step, **values, "lr": lr, **self.pace.read(step, self.settings.batch)})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the guard remembers, and which videos are damaged."""
        checkpoint["damaged"] = self.problems.state_dict()
        if self.guard is not None:
            checkpoint["guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.problems.load_state_dict(checkpoint.get("damaged", {}))
        if self.guard is not None and "guard" in checkpoint:
            self.guard.load_state_dict(checkpoint["guard"])


class _Keep(pl.Callback):
    """Ends each step: its log, a checkpoint every `save_every` of them, replaced by renaming; and the progress bar."""

    def __init__(self, path: Path, module: Fit, name: str):
        self.path, self.module, self.run, self.name = path, module, module.settings, name
        self.bar: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        off, at, num = not trainer.is_global_zero, trainer.global_step, self.run.steps
        self.bar = tqdm(total=num, initial=at, desc=self.name, unit="step", disable=off or None, leave=False)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % self.run.accumulate == 0:
            self.module.finish_step()
            self.bar.update(1)
            if trainer.global_step % self.run.save_every == 0:
                self.save(trainer)
        self.module.pace.end_part()

    def save(self, trainer: Any) -> None:
        """Write the checkpoint beside, then rename it; not of a run that is broken."""
        temporary = self.path.with_name(".last.ckpt.tmp")
        self.module.watch.check()
        check_weights(self.module.objective.parameters(), trainer.global_step)
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{self.path} cannot be written ({error.strerror}): make space, then --resume") from error

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer)
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.module.log_file is not None:
            self.module.log_file.close()


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
) -> dict[str, str]:
    """Train an objective; goes on from `out/checkpoints/last.ckpt` where that is there.

    Of several processes each returns with the trained weights; `surgvl.train.distributed.main_process` says which is
    the first.

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

    Returns:
        Video id -> what is wrong, of videos with clips that could not be read; others stood in for these.

    Raises:
        CheckpointError: the checkpoint is damaged, another program's, or does not fit the objective.
        ConfigError: settings that exclude one another, or a logger whose package is missing.
        DataError: the loss is not finite, or stands out too often; or hardly a clip can be read.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    last = out / "checkpoints" / "last.ckpt"
    check_logger(run.logger)
    module = Fit(objective, Replacing(data), Collate(collate), augment, optim, run, out)
    resumed = check_checkpoint(last, module.state_dict(), module.configure_optimizers())
    strategy: Any = "auto"
    if run.strategy == "fsdp":
        strategy = ModelParallelStrategy(run.devices * run.nodes, 1, save_distributed_checkpoint=False)
    elif run.strategy == "ddp" or run.devices * run.nodes > 1:
        strategy = DDPStrategy(gradient_as_bucket_view=True)
    torch.manual_seed(run.seed)
    with warnings.catch_warnings():
        # Lightning advises more workers and a logger; both are chosen here on purpose.
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|lightning|Lightning).*")
        trainer = pl.Trainer(
            accelerator="auto",
            devices=run.devices,
            num_nodes=run.nodes,
            strategy=strategy,
            precision=precision(run.precision),  # type: ignore[arg-type]
            max_steps=run.steps,
            max_epochs=-1,
            accumulate_grad_batches=run.accumulate,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[_Keep(last, module, name), *callbacks],
        )
        agree_on_stops(trainer, module.logs)
        trainer.fit(module, ckpt_path=last if resumed else None, weights_only=True)
        if run.strategy == "fsdp":
            unshard(objective)
    return module.problems.found
