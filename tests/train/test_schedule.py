"""Rates of a step against the formulas of the papers, layer-wise rates against BEiT's, and words that are refused."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from surgvl.core.errors import ConfigError
from surgvl.train.config import Optim, Run
from surgvl.train.optimizer import (
    apply_schedule,
    build_optimizer,
    layer_lr_scales,
    learning_rate,
    schedule_progress,
    weight_decay,
)


def rates(optim: Optim, steps: int) -> list[float]:
    return [learning_rate(step, steps, optim) for step in range(steps)]


def test_cosine_warms_up_and_ends_at_the_floor() -> None:
    found = rates(Optim(lr=2.0, warmup=0.1, min_lr_ratio=0.01), 100)
    assert found[0] == pytest.approx(0.2)
    assert max(found) == pytest.approx(2.0)
    assert found.index(max(found)) in (9, 10)
    assert found[55] == pytest.approx(2.0 * (0.01 + 0.99 * 0.5), abs=1e-6)
    assert 0.02 <= found[-1] < 0.03


def test_a_warm_up_may_start_above_zero() -> None:
    # V-JEPA 2: 1e-4 to 5.25e-4 in 40 of its "epochs".
    found = rates(Optim(lr=5.25e-4, warmup_start=1e-4 / 5.25e-4, warmup=0.5, schedule="constant"), 80)
    assert np.allclose(found[:40], 1e-4 + (5.25e-4 - 1e-4) * np.arange(1, 41) / 40)
    assert np.allclose(found[40:], 5.25e-4)


def test_wsd_is_flat_and_then_falls_in_a_line() -> None:
    found = rates(Optim(lr=1.0, schedule="wsd", warmup=0.1, decay=0.25, min_lr_ratio=0.2), 40)
    assert np.allclose(found[:4], [0.25, 0.5, 0.75, 1.0])
    assert np.allclose(found[4:31], 1.0)
    assert np.allclose(found[30:], 0.2 + 0.8 * np.arange(10, 0, -1) / 10)


def test_a_stretched_cosine_is_cut_off() -> None:
    whole, cut = (
        Optim(lr=1.0, warmup=0.0, min_lr_ratio=0.0),
        Optim(lr=1.0, warmup=0.0, min_lr_ratio=0.0, schedule_scale=1.25),
    )
    longer = rates(whole, 1250)
    assert np.allclose(rates(cut, 1000)[1:], longer[1:1000], atol=2e-3)
    assert rates(cut, 1000)[-1] > 0.09


def test_weight_decay_of_vjepa_rises_along_a_half_cosine() -> None:
    optim = Optim(weight_decay=0.04, final_weight_decay=0.4)
    steps = np.arange(200)
    want = 0.4 + (0.04 - 0.4) * 0.5 * (1 + np.cos(np.pi * steps / 200))
    assert np.allclose([weight_decay(int(step), 200, optim) for step in steps], want)
    assert weight_decay(150, 200, Optim(weight_decay=0.04)) == 0.04


@pytest.mark.parametrize("warm", [0, 1, 12])
def test_counted_from_zero_rates_are_those_of_beit_and_videomae(warm: int) -> None:
    # A line whose ends both belong to the warm-up, then a cosine from its first value.
    optim = Optim(lr=2.0, warmup=warm / 40, min_lr_ratio=0.1, counting="from_zero")
    angle = np.pi * np.arange(40 - warm) / (40 - warm)
    want = np.concatenate([np.linspace(0, 2.0, warm), 0.2 + 1.8 * 0.5 * (1 + np.cos(angle))])
    assert np.allclose(rates(optim, 40), want, atol=1e-12)
    decaying = Optim(weight_decay=0.1, final_weight_decay=0.5, counting="from_zero")
    want = 0.5 - 0.4 * 0.5 * (1 + np.cos(np.pi * np.arange(40) / 40))
    assert np.allclose([weight_decay(step, 40, decaying) for step in range(40)], want)


@pytest.mark.parametrize("warm", [0, 1, 12])
def test_counted_from_one_rates_are_those_of_vjepa(warm: int) -> None:
    # Step n = 1 ... 40 of schedules of length 50, as its schedulers count before they set a rate.
    n = np.arange(1, 41)
    optim = Optim(lr=2.0, warmup=warm / 40, min_lr_ratio=0.1, schedule_scale=1.25, counting="from_one")
    cosine = 0.2 + 1.8 * 0.5 * (1 + np.cos(np.pi * (n - warm) / (50 - warm)))
    assert np.allclose(rates(optim, 40), np.where(n < warm, 2.0 * n / max(1, warm), cosine))
    decaying = Optim(weight_decay=0.04, final_weight_decay=0.4, schedule_scale=1.25, counting="from_one")
    want = 0.4 - 0.36 * 0.5 * (1 + np.cos(np.pi * n / 50))
    assert np.allclose([weight_decay(step, 40, decaying) for step in range(40)], want)
    # Its cooldown: a line to the last value, which the last step has.
    line = Optim(lr=2.0, schedule="wsd", warmup=0.0, decay=1.0, min_lr_ratio=0.0, counting="from_one")
    assert np.allclose(rates(line, 40), 2.0 * (1 - n / 40))
    # The momentum of the average is counted from zero in both.
    assert schedule_progress(0, 40, decaying) == 0


class Small(nn.Module):
    """An encoder of three blocks below a head, as the names of a recipe go."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.embed = nn.Linear(4, 4)
        self.encoder.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.encoder.norm = nn.LayerNorm(4)
        self.decoder = nn.Module()
        self.decoder.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.teacher_encoder = nn.Linear(4, 4).requires_grad_(False)


def test_layers_have_the_rates_of_beit() -> None:
    names = [name for name, _ in Small().named_parameters()]
    # BEiT numbers the embedding 0 and block i by i + 1, and gives layer n decay^(depth + 1 - n).
    number = {"encoder.embed.": 0, "encoder.blocks.0.": 1, "encoder.blocks.1.": 2, "encoder.blocks.2.": 3}
    want = {name: 0.75 ** (4 - layer) for name in names for start, layer in number.items() if name.startswith(start)}
    assert layer_lr_scales(names, 0.75) == pytest.approx(want)
    assert len(want) == 8
    assert layer_lr_scales(names, 1.0) == {}
    assert layer_lr_scales(["dual.encoder.blocks.1.mlp.0.weight"], 0.5) == {"dual.encoder.blocks.1.mlp.0.weight": 0.5}
    with pytest.raises(ConfigError, match="layer_decay 0.5 needs an encoder"):
        layer_lr_scales(["decoder.blocks.0.weight", "target_encoder.blocks.0.weight"], 0.5)


@pytest.mark.parametrize("muon", [0.0, 2.0])
def test_a_step_sets_rate_and_decay_of_every_group(muon: float) -> None:
    model = Small()
    optim = Optim(
        lr=1.0, muon_lr_ratio=muon, layer_decay=0.5, weight_decay=0.0, final_weight_decay=0.2, schedule="constant"
    )
    optimizer = build_optimizer(model.named_parameters(), {"decoder.": 0.1}, optim)
    apply_schedule(optimizer, 50, 100, optim)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    named = {name: found[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    factor = muon or 1.0
    assert named["encoder.embed.weight"] == pytest.approx((0.5**4, 0.1))
    assert named["encoder.embed.bias"] == pytest.approx((0.5**4, 0.0))
    assert named["encoder.blocks.0.weight"] == pytest.approx((factor * 0.5**3, 0.1))
    assert named["encoder.blocks.2.bias"] == pytest.approx((0.5, 0.0))
    assert named["encoder.norm.weight"] == pytest.approx((1.0, 0.0))
    assert named["decoder.blocks.1.weight"] == pytest.approx((factor * 0.1, 0.1))
    assert len(found) == len(named)


def test_parameters_are_spared_decay_by_name() -> None:
    model = Small()
    optimizer = build_optimizer(
        model.named_parameters(), {}, Optim(weight_decay=0.1), undecayed=("encoder.embed.weight",)
    )
    spared = [id(p) for group in optimizer.param_groups if not group["decays"] for p in group["params"]]
    assert id(model.get_parameter("encoder.embed.weight")) in spared
    assert id(model.get_parameter("encoder.blocks.0.weight")) not in spared


def test_betas_and_eps_are_adamws() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2).named_parameters(), {}, Optim(beta1=0.8, beta2=0.999, eps=1e-6))
    assert all(group["betas"] == (0.8, 0.999) and group["eps"] == 1e-6 for group in optimizer.param_groups)
    with pytest.raises(ConfigError, match="all parameters are frozen"):
        build_optimizer(nn.Linear(2, 2).requires_grad_(False).named_parameters(), {}, Optim())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "linear"}, "--optim.schedule must be one of cosine, constant, wsd, got 'linear'"),
        ({"counting": "one"}, "--optim.counting must be one of mixed, from_zero, from_one, got 'one'"),
        ({"warmup": 1.5}, "--optim.warmup must be between 0 and 1, got 1.5"),
        ({"layer_decay": 0.0}, "--optim.layer_decay must be between 0.01 and 1, got 0.0"),
        ({"weight_decay": -1.0}, "--optim.weight_decay must be >= 0, got -1.0"),
        ({"final_weight_decay": -1.0}, "--optim.final_weight_decay must be >= 0, got -1.0"),
        ({"lr": math.nan}, "--optim.lr must be >= 0, got nan"),
        ({"beta2": 1.0}, "--optim.beta2 must be between 0 and 0.999999, got 1.0"),
        ({"schedule_scale": 0.5}, "--optim.schedule_scale must be >= 1, got 0.5"),
        (
            {"schedule": "wsd", "warmup": 0.5, "decay": 0.6},
            "must add up to at most 1, got 0.5 and 0.6",
        ),
    ],
)
def test_optimizers_that_cannot_be(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Optim(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "--run.steps must be >= 1, got 0"),
        ({"workers": -1}, "--run.workers must be >= 0, got -1"),
        ({"precision": "float"}, "--run.precision must be one of auto, .*, got 'float'"),
        ({"strategy": "zero"}, "--run.strategy must be one of auto, ddp, fsdp, got 'zero'"),
        ({"logger": "mlflow"}, "--run.logger must be one of none, csv, tensorboard, wandb, got 'mlflow'"),
        ({"skip_loss_std": -1.0}, "--run.skip_loss_std must be >= 0, got -1.0"),
        (
            {"batch": 12, "devices": 4, "accumulate": 2},
            r"a multiple of 8 \(4 devices x 1 nodes x 2 micro-batches\), got 12",
        ),
        ({"precision": "16-mixed", "skip_loss_std": 6.0}, "use bf16-mixed"),
    ],
)
def test_runs_that_cannot_be(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Run(**values)  # type: ignore[arg-type]


def test_the_sum_of_the_settings_is_what_a_step_takes() -> None:
    """One step of AdamW with the rates of step 3, against its formula (arXiv 1711.05101, algorithm 2)."""
    weight = nn.Linear(2, 1, bias=False)
    optim = Optim(lr=0.1, weight_decay=0.5, warmup=0.0, beta1=0.9, beta2=0.95)
    optimizer = build_optimizer(weight.named_parameters(), {}, optim)
    before = weight.weight.detach().numpy().copy()
    weight(torch.ones(1, 2)).sum().backward()
    apply_schedule(optimizer, 3, 10, optim)
    optimizer.step()
    rate = learning_rate(3, 10, optim)
    want = before * (1 - rate * 0.5) - rate * 1.0 / (1.0 + 1e-8)
    assert np.allclose(weight.weight.detach().numpy(), want, atol=1e-6)
