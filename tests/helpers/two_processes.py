"""Runs that `test_distributed` compares; `python -m tests.helpers.two_processes OUT` trains each on two processes.

Lightning starts the second process by the same command. OUT/STRATEGY/CASE holds a run's metrics and weights, OUT/align
the steps of `align_steps`.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset

from surgvl.core.errors import DataError
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import Position, ViTConfig
from surgvl.pretrain.videomae import VideoMAE
from surgvl.pretrain.vjepa import VJEPA
from surgvl.train.config import Optim, Run
from surgvl.train.distributed import main_process
from surgvl.train.ema import EMA
from surgvl.train.loop import fit
from surgvl.train.objective import Objective
from tests.helpers import align_steps
from tests.helpers.forked import Forked, run_module
from tests.helpers.forks import as_users_do
from tests.helpers.ports import free_port


class Clips(Dataset[Any]):
    """Sample i is a function of i; those of `loud` are black and white."""

    def __init__(self, size_px: int = 16, loud: tuple[int, ...] = ()):
        self.size_px, self.loud = size_px, loud

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        shape = (3, 4, self.size_px, self.size_px)
        video = torch.randint(0, 200, shape, generator=generator, dtype=torch.uint8)
        if index in self.loud:
            video = (video > 100) * video.new_tensor(255)
        return {"video": video, "video_id": f"v{index}"}


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"video": torch.stack([row["video"] for row in rows]), "video_id": [row["video_id"] for row in rows]}


class Plain(Objective):
    """No random number: an autoencoder of frames and a table of its average."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(48, 12), nn.GELU(), nn.Linear(12, 48))
        self.target_encoder = EMA(self.encoder)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        x = batch["video"].float().flatten(1).unflatten(1, (-1, 48)) / 255 - 0.4
        found = self.encoder(x)
        return {"loss": (found - x).square().mean() + 0.1 * (found - self.target_encoder(x)).abs().mean()}

    def after_step(self, progress: float) -> None:
        self.target_encoder.update(self.encoder, 0.9)

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"brightness": batch["video"].float().mean()}


class Breaks(Plain):
    """Turns to NaN where a clip of one number comes along; `how` says whether the loss or only its gradient does."""

    def __init__(self, how: str = "loss"):
        super().__init__()
        self.how = how

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        loss = super().forward(batch)["loss"]
        bad = "v45" in batch["video_id"]
        if self.how == "loss":
            return {"loss": loss * float("nan") if bad else loss}
        # The root of 0 is 0 and its slope is not a number.
        return {"loss": loss + (0 * next(self.encoder.parameters()).sum()).sqrt() if bad else loss}


class Told(Plain):
    """One of two processes gets SIGTERM in the middle of step 2."""

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        if progress == 3 / 20 and not main_process():
            os.kill(os.getpid(), signal.SIGTERM)


def small_encoder(position: Position = "sinusoid", depth: int = 2) -> VideoViT:
    return VideoViT(
        ViTConfig(size_px=16, num_frames=4, patch_px=4, tubelet=2, dim=16, depth=depth, heads=2, position=position)
    )


def mae(depth: int = 2) -> Objective:
    return VideoMAE(small_encoder(depth=depth), mask_ratio=0.5, decoder_dim=16, decoder_depth=1, decoder_heads=2)


def jepa() -> Objective:
    return VJEPA(
        small_encoder("rope"), 1, 0.3, 1, 0.6, predictor_dim=16, predictor_depth=1, predictor_heads=2, momentum=0.9
    )


SMALL = Run(steps=4, batch=8, precision="32-true", log_every=1)
CASES: dict[str, tuple[Callable[[], Objective], Run]] = {
    "plain": (Plain, SMALL),
    "mae": (mae, SMALL),
    "jepa": (jepa, SMALL),
    "guarded": (Plain, replace(SMALL, steps=9, log_every=4, skip_loss_std=3.0)),
}
# Constant, so that a run of two steps that goes on to four is one of four.
OPTIM = Optim(lr=1e-2, beta2=0.99, schedule="constant", warmup=0.0)


class HostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often values of a tensor are read into Python: by float, bool, item, tolist, cpu or numpy."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num = 0
        self.patch = pytest.MonkeyPatch()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Self:
        def counted(name: str) -> Callable[..., Any]:
            inner = getattr(Tensor, name)

            def read(*args: Any, **kwargs: Any) -> Any:
                self.num += 1
                return inner(*args, **kwargs)

            return read

        # On a CPU these copy memory without an operator that a dispatch mode could see.
        for name in ("tolist", "cpu", "numpy"):
            self.patch.setattr(Tensor, name, counted(name))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)  # type: ignore[no-untyped-call]
        self.patch.undo()


class Count:
    """A collate function that notes the host reads before each batch, from one to the next."""

    def __init__(self, reads: HostReads):
        self.reads = reads
        self.at: list[int] = []

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        self.at.append(self.reads.num)
        return collate(rows)

    def batches(self) -> list[int]:
        """Batches after which, before the next one, values were read."""
        return [number for number, (before, after) in enumerate(pairwise(self.at)) if after > before]


def train(case: str, out: Path, changes: dict[str, Any], collate: Callable[..., Any] = collate) -> Objective:
    """Run a case into `out/case`; `changes` are settings of its run that differ."""
    make, run = CASES[case]
    torch.manual_seed(3)
    objective = make()
    fit(objective, Clips(), collate, out / case, OPTIM, replace(run, **changes))
    return objective


def as_command(out: Path) -> None:
    """`python -m tests.helpers.two_processes OUT > OUT/output`; Lightning starts the other process by `Forked`."""
    # After the loop, which imports it without the trainer.
    from lightning.fabric.strategies.launchers import subprocess_script

    as_users_do(out / "output")
    torch.set_num_threads(1)
    vars(subprocess_script)["subprocess"] = SimpleNamespace(Popen=Forked)
    # Each run listens there anew.
    run_module([__name__, str(out)], {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())})


def main() -> None:
    out = Path(sys.argv[1])
    for strategy in ("ddp", "fsdp"):
        for case in CASES:
            folder, changes = out / strategy, {"devices": 2, "strategy": strategy}
            if case == "plain":
                changes["accumulate"] = 2
            if case == "mae":
                train(case, folder, {**changes, "steps": 2})
            counted = HostReads() if case == "guarded" else None
            with counted or nullcontext():
                count = Count(counted) if counted else None
                objective = train(case, folder, changes, count or collate)
            if main_process():
                torch.save(objective.state_dict(), folder / case / "weights.pt")
                if count:
                    (folder / case / "reads.json").write_text(json.dumps(count.batches()))
    align_steps.two_processes(out / "align")
    which = "first" if main_process() else "second"
    try:
        fit(
            Told(),
            Clips(),
            collate,
            out / "told",
            OPTIM,
            replace(SMALL, steps=20, devices=2, log_every=4, save_every=2),
        )
    except SystemExit as end:
        (out / f"stopped_{which}").write_text(str(end.code))
    try:
        fit(Breaks(), Clips(), collate, out / "breaks", OPTIM, replace(SMALL, steps=20, devices=2, save_every=4))
    except DataError as error:
        (out / f"said_{which}").write_text(str(error))


if __name__ == "__main__":
    main()
