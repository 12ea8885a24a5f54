"""The training loop: any `Objective`, on any number of devices, resumed to the same weights.

A step depends on (seed, step) alone: samples are drawn by index, and random numbers are reseeded at each micro-batch,
so a run that was killed and resumed ends with the same weights as one that was not. Gradients are averaged over
the micro-batches of a step; an objective that compares them with each other is a `Contrastive`. Nothing is read from
the device except at logging and saving steps.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from surgvl.train.checkpoint import check_checkpoint, save_checkpoint
from surgvl.train.config import Optim, Run
from surgvl.train.contrastive import Contrastive, embedded
from surgvl.train.distributed import SigtermFlag, all_reduce_mean, unshard
from surgvl.train.fabric import compile_modules, launch
from surgvl.train.guard import NonFiniteCheck, SpikeGuard, check_weights
from surgvl.train.loggers import LOGS, Throughput, check_logger
from surgvl.train.objective import Batch, Objective
from surgvl.train.optimizer import apply_schedule, clip_gradients, learning_rate, optimizer_of, schedule_progress
from surgvl.train.samples import Collate, Problems, Replacing, StepSampler, micro_batch_seed, seed_generators


def fit(
    objective: Objective,
    data: Dataset[Any],
    collate: Any,
    out: Path,
    optim: Optim,
    run: Run,
    augment: nn.Module | None = None,
    name: str = "training",
) -> dict[str, str]:
    """Train an objective; resumes from `out/checkpoints/last.ckpt` if that exists.

    With several processes, each returns with the trained weights on the CPU; only the process for which
    `surgvl.train.distributed.main_process` is true should report.

    Args:
        objective: trained in place.
        data: map-style, endless; sample i is a pure function of i.
        collate: list of samples -> batch.
        out: run folder; receives `metrics.jsonl` and `checkpoints/`.
        optim: optimizer settings.
        run: run settings.
        augment: clips uint8 -> float, applied on the device; or None.
        name: label of the progress bar.

    Returns:
        Video id -> its first problem, for videos with unreadable clips, which were replaced by other clips.

    Raises:
        CheckpointError: the checkpoint is damaged, of another program, or does not fit the objective.
        ConfigError: settings that exclude each other, or a logger whose package is missing.
        DataError: a loss is not finite, too many steps are skipped as spikes, or too many clips cannot be read.
    """
    check_logger(run.logger)
    last = out / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True, exist_ok=True)
    resume = check_checkpoint(last, objective.state_dict(), optimizer_of(objective, optim, run))
    torch.manual_seed(run.seed)

    fabric = launch(run)
    if run.compile:
        compile_modules(objective, by_block=run.strategy == "fsdp")
    model = fabric.setup_module(MicroStep(objective, augment))
    optimizer = optimizer_of(objective, optim, run)  # after setup, because fsdp replaces the parameters
    stepper: Any = fabric.setup_optimizers(optimizer)
    precision, rank, world = fabric.strategy.precision, fabric.global_rank, fabric.world_size
    problems, nonfinite, guard = Problems(), NonFiniteCheck(), SpikeGuard(run.skip_loss_std, run.skip_window)
    state: dict[str, Any] = {"objective": objective, "optimizer": optimizer, "precision": precision, "step": 0}
    state |= {"problems": problems, "guard": guard}
    if resume:
        fabric.load(last, state, weights_only=True)
    start: int = state["step"]
    objective.begin(start / run.steps)

    sampler = StepSampler(run.steps, run.batch, start, rank, world, run.accumulate)
    batches = iter(
        DataLoader(Replacing(data), batch_sampler=sampler, collate_fn=Collate(collate), num_workers=run.workers)
    )
    throughput = Throughput(start)
    with (
        SigtermFlag() as sigterm,
        LOGS[run.logger](out, start) if fabric.is_global_zero else nullcontext() as log,
        tqdm(total=run.steps, initial=start, desc=name, unit="step", disable=rank > 0 or None, leave=False) as bar,
    ):
        for step in range(start, run.steps):
            logged = step % run.log_every == 0 or step == run.steps - 1
            if logged:
                nonfinite.check()  # before a monitor meets what is not finite
            apply_schedule(optimizer, step, run.steps, optim)
            losses: dict[str, Tensor] = {}
            monitored: dict[str, list[Tensor]] = {}  # a monitor may report in some micro-batches only
            video_ids: list[str] = []
            seeds = [micro_batch_seed(run.seed, step, rank * run.accumulate + micro) for micro in range(run.accumulate)]
            taken: Iterable[Batch] = (problems.take(each) for each in throughput.timed(islice(batches, run.accumulate)))
            if isinstance(objective, Contrastive) and run.accumulate > 1:
                taken = embedded(fabric, model, objective, taken, seeds)
            for micro, (batch, seed) in enumerate(zip(taken, seeds, strict=True)):
                batch = fabric.to_device(batch)
                seed_generators(seed, fabric.device)
                with fabric.no_backward_sync(model, enabled=micro < run.accumulate - 1):
                    found, seen = model(batch, logged)
                    fabric.backward(found["loss"] / run.accumulate)
                ids = [str(video_id) for video_id in batch.get("video_id", [])]
                nonfinite.note("loss", step, ids, found["loss"])
                video_ids += ids
                for key, value in found.items():
                    losses[key] = losses.get(key, 0) + value.detach().float() / run.accumulate
                for key, value in seen.items():
                    monitored.setdefault(key, []).append(value)

            precision.unscale_gradients(optimizer)
            norm = clip_gradients(objective.parameters(), optim.clip_norm)
            if run.precision != "16-mixed":  # its scaler leaves out steps whose scaled gradients overflow
                nonfinite.note("gradient norm", step, video_ids, norm)
            if run.skip_loss_std:
                # How gradient scalers leave out a step: torch's fused kernels read it on the device.
                optimizer.found_inf = guard.judge(all_reduce_mean(losses["loss"]))  # type: ignore[attr-defined]
            stepper.step()
            stepper.zero_grad()
            state["step"] = step + 1
            objective.update_ema(schedule_progress(step, run.steps, optim))
            objective.after_step((step + 1) / run.steps)

            if logged:
                nonfinite.check()
                means = all_reduce_mean(torch.stack(list(losses.values()))).tolist()
                row = {"step": step, **dict(zip(losses, means, strict=True))}
                row |= {key: sum(map(float, values)) / len(values) for key, values in monitored.items()}
                if run.skip_loss_std:
                    row["skipped"] = guard.check(step)
                if log is not None:
                    lr = learning_rate(step, run.steps, optim)
                    log.write({**row, "lr": lr, **throughput.read(step, run.batch)})
            bar.update(1)
            if (step + 1) % run.save_every == 0 or step + 1 == run.steps:
                nonfinite.check()
                check_weights(objective.parameters(), step + 1)
                save_checkpoint(fabric, last, state)
            if logged or world == 1:  # processes agree at logging steps, because that waits for the device
                sigterm.exit_if_received(fabric, step + 1)

    if run.strategy == "fsdp":
        unshard(objective)
    else:
        objective.cpu()
    return problems.found


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
