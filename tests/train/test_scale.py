"""The loop at scale: parts of a batch, the average over a stop, host reads, NaN, spikes."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError, DataError
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.train.config import Optim, Run
from surgvl.train.loop import fit
from surgvl.train.objective import Objective
from surgvl.train.optimizer import build_optimizer
from tests.helpers.two_processes import CASES, OPTIM, Breaks, Clips, Count, HostReads, Plain, collate, mae, train


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def alone(case: str, out: Path, **changes: Any) -> Objective:
    """A case on one process."""
    return train(case, out, {"strategy": "auto", **changes})


@pytest.mark.slow
def test_parts_of_a_batch_are_the_batch(tmp_path: Path) -> None:
    whole = alone("plain", tmp_path / "whole")
    parts = alone("plain", tmp_path / "parts", accumulate=4)
    for one, two in zip(log(tmp_path / "whole/plain"), log(tmp_path / "parts/plain"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-6)
        assert two["brightness"] == pytest.approx(one["brightness"], rel=1e-5)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, parts.state_dict()[name], atol=1e-6), name


class Sometimes(Plain):
    """Its monitor tells something once, as a look at held-out questions does."""

    told = 0

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        self.told += 1
        return {"once": torch.tensor(0.75)} if self.told == 1 else {}


def test_what_a_monitor_tells_in_one_part_of_a_step_is_logged_as_told(tmp_path: Path) -> None:
    run = Run(steps=2, batch=8, precision="32-true", accumulate=4, log_every=1)
    fit(Sometimes(), Clips(), collate, tmp_path, OPTIM, run)
    first, second = log(tmp_path)
    assert first["once"] == 0.75
    assert "once" not in second


def interrupt(objective: Objective, progress: float) -> None:
    """Press Ctrl-C when training gets there."""
    after_step = objective.after_step

    def stop(now: float) -> None:
        after_step(now)
        if now >= progress:
            raise KeyboardInterrupt

    objective.after_step = stop  # type: ignore[assignment]


@pytest.mark.parametrize("case", ["plain", "mae"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.slow
def test_average_and_parts_go_on_to_the_same_weights(case: str, accumulate: int, tmp_path: Path) -> None:
    whole = alone(case, tmp_path / "whole", accumulate=accumulate)
    make, _ = CASES[case]
    torch.manual_seed(3)
    broken = make()
    interrupt(broken, 3 / 4)
    run = Run(steps=4, batch=8, precision="32-true", save_every=2, accumulate=accumulate)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, Clips(), collate, tmp_path / "broken", OPTIM, run)
    assert torch.load(tmp_path / "broken/checkpoints/last.ckpt", weights_only=True)["step"] == 2
    resumed = make()
    fit(resumed, Clips(), collate, tmp_path / "broken", OPTIM, run)
    assert same(whole, resumed)


class Told(Plain):
    """Sends its own process SIGTERM in the middle of step 4, as a scheduler may."""

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        if progress == 5 / 8:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_a_run_after_its_step_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run = Run(steps=8, batch=4, precision="32-true", log_every=1, save_every=2)
    with pytest.raises(SystemExit) as end:
        fit(Told(), Clips(4), collate, tmp_path, OPTIM, run)
    # 128 + 15, which a shell reads as "ended by SIGTERM".
    assert end.value.code == 143
    assert [row["step"] for row in log(tmp_path)] == [0, 1, 2, 3, 4]
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["step"] == 4
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_half_precision_clips_gradients_without_their_scale(tmp_path: Path) -> None:
    """Moments are sums of clipped gradients: those of float32, but for float16's ten bits."""
    moments = []
    for precision in ("32-true", "16-mixed"):
        torch.manual_seed(0)
        run = Run(steps=3, batch=4, precision=precision, accelerator="cpu", accumulate=2)
        fit(Plain(), Clips(4), collate, tmp_path / precision, replace(OPTIM, clip_norm=1e-3), run)
        kept = torch.load(tmp_path / precision / "checkpoints/last.ckpt", weights_only=True)
        moments.append(torch.cat([each["exp_avg"].flatten() for each in kept["optimizer"]["state"].values()]))
        assert kept["precision"].get("scale", 0) == (65536 if precision == "16-mixed" else 0)
    exact, half = moments
    assert 0 < float(exact.norm()) < 1e-3
    assert float((half - exact).norm()) < 0.02 * float(exact.norm())


class Reads(Plain):
    """Looks at its loss at every step."""

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        losses = super().forward(batch)
        assert float(losses["loss"].detach()) >= 0
        return losses


# Steps 0, 5, 10 and 11 are logged; before they ask for their batch, what was noted is checked.
@pytest.mark.slow
@pytest.mark.parametrize(("make", "want"), [(Plain, [0, 4, 5, 9, 10]), (Reads, list(range(11)))])
def test_nothing_is_read_from_the_device_between_logging_steps(
    make: type[Plain], want: list[int], tmp_path: Path
) -> None:
    with HostReads() as reads:
        count = Count(reads)
        run = Run(steps=12, batch=4, log_every=5, precision="32-true", skip_loss_std=3.0, logger="csv")
        fit(make(), Clips(), count, tmp_path, OPTIM, run)
    assert count.batches() == want


@pytest.mark.parametrize(("how", "word"), [("loss", "loss is nan"), ("gradient", "gradient norm is (nan|inf)")])
def test_nan_names_its_own_clips_and_keeps_the_last_good_checkpoint(how: str, word: str, tmp_path: Path) -> None:
    run = Run(steps=20, batch=8, precision="32-true", log_every=9, save_every=4)
    # Clip 45 is in step 5; it is found when the next checkpoint is due, at step 8, before the log at 9.
    with pytest.raises(DataError, match=f"{word} at step 5, in a batch of v40, v41, v42, v43 and 4 more"):
        fit(Breaks(how), Clips(), collate, tmp_path, OPTIM, run)
    kept = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert kept["step"] == 4
    assert all(value.isfinite().all() for value in kept["objective"].values())


@pytest.mark.parametrize("muon", [0.0, 1.0])
def test_a_step_left_out_leaves_weights_and_moments_as_they_are(muon: float) -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    optimizer = build_optimizer(model.named_parameters(), {}, Optim(lr=0.1, muon_lr_ratio=muon))

    def step(skip: float | None) -> None:
        optimizer.zero_grad()
        model(torch.randn(5, 6)).square().mean().backward()
        optimizer.found_inf = None if skip is None else torch.tensor(skip)  # type: ignore[attr-defined]
        optimizer.step()

    def state() -> list[Tensor]:
        inner = optimizer.state_dict()
        parts = inner.get("parts", [inner])
        held = [value for part in parts for entry in part["state"].values() for value in entry.values()]
        return [value.clone() for value in [*model.parameters(), *held] if isinstance(value, Tensor)]

    step(None)
    before = state()
    step(1.0)
    assert len(before) > 4
    assert all(torch.equal(one, two) for one, two in zip(before, state(), strict=True))
    step(0.0)
    assert not any(torch.equal(one, two) for one, two in zip(before, state(), strict=True))


class Remembers(Plain):
    """Keeps its weights after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, Tensor]] = []

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        self.kept.append({name: value.clone() for name, value in self.state_dict().items()})


@pytest.mark.slow
def test_a_spike_is_skipped_counted_and_remembered(tmp_path: Path) -> None:
    objective = Remembers()
    run = Run(steps=30, batch=2, precision="32-true", log_every=10, save_every=15, skip_loss_std=6.0, skip_window=10)
    fit(objective, Clips(4, loud=(2 * 24,)), collate, tmp_path, OPTIM, run)
    for name, value in objective.kept[23].items():
        moved = not torch.equal(value, objective.kept[24][name])
        assert moved == name.startswith("target_encoder"), name
        assert not torch.equal(objective.kept[24][name], objective.kept[25][name])
    assert [row["skipped"] for row in log(tmp_path)] == [0, 0, 0, 1]
    kept = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["guard"]
    assert kept["counts"].tolist() == [29, 1, 0, 0]


@pytest.mark.slow
def test_ten_spikes_in_a_row_end_the_run(tmp_path: Path) -> None:
    loud = tuple(range(2 * 22, 2 * 60))
    run = Run(steps=60, batch=2, precision="32-true", log_every=5, save_every=20, skip_loss_std=6.0, skip_window=10)
    with pytest.raises(DataError, match="steps in a row were skipped up to step 35"):
        fit(Plain(), Clips(4, loud), collate, tmp_path, OPTIM, run)
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["step"] == 20


class Noisy(Plain):
    """Random numbers in the loss, and as many in the monitor."""

    def __init__(self, watched: bool):
        super().__init__()
        self.watched, self.asked = watched, 0

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        noise = torch.rand(())
        return {"loss": super().forward(batch)["loss"] * noise, "noise": noise}

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        assert not torch.is_grad_enabled()
        self.asked += 1
        return {"seen": torch.rand(())} if self.watched else {}


@pytest.mark.slow
def test_a_monitor_sees_the_numbers_of_the_step_and_changes_nothing(tmp_path: Path) -> None:
    run = Run(steps=8, batch=4, precision="32-true", log_every=3)
    found = []
    for watched in (True, False):
        torch.manual_seed(0)
        objective = Noisy(watched)
        fit(objective, Clips(4), collate, tmp_path / str(watched), OPTIM, run)
        assert objective.asked == 4
        found.append(objective)
    assert same(*found)
    rows = log(tmp_path / "True")
    assert [row["step"] for row in rows] == [0, 3, 6, 7]
    assert all(row["seen"] == row["noise"] for row in rows)
    assert all(0 <= row["wait"] <= 1 for row in rows)


def test_checkpointed_activations_give_the_same_gradients_from_less_memory() -> None:
    video = torch.randint(0, 255, (4, 3, 4, 16, 16)).float()
    gradients, sizes = [], []
    for on in (False, True):
        torch.manual_seed(5)
        shape = ViTConfig(size_px=16, num_frames=4, patch_px=4, dim=32, depth=4, heads=2, drop_path=0.4, checkpoint=on)
        encoder = VideoViT(shape)
        kept: dict[int, int] = {}

        def pack(x: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = encoder(video).square().mean(-1).tanh().sum()
        loss.backward()
        gradients.append([p.grad for p in encoder.parameters()])
        sizes.append(sum(kept.values()))
    for one, two in zip(*gradients, strict=True):
        assert one is not None
        assert two is not None
        assert torch.allclose(one, two, atol=1e-6)
    assert sizes[1] < 0.5 * sizes[0]


def test_muon_is_not_split(tmp_path: Path) -> None:
    run = Run(steps=2, batch=2, precision="32-true", strategy="fsdp")
    with pytest.raises(ConfigError, match="--optim.muon_lr_ratio needs whole matrices"):
        fit(mae(), Clips(), collate, tmp_path, Optim(muon_lr_ratio=1.0), run)
