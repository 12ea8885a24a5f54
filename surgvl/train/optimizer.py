"""The optimizer of a run, and the learning rate and weight decay that each step sets in it.

AdamW (arXiv 1711.05101), or Muon for the hidden matrices and AdamW for the rest, as one torch optimizer: Muon's steps
are scaled to the root mean square of AdamW's (`surgvl.train.muon`), so that one schedule serves both. Layer-wise
learning rate decay is that of BEiT (arXiv 2106.08254).

Schedules are pure functions of the step's number: half cosine (arXiv 1608.03983) after a linear warm-up; constant; or
warm-up, stable, decay (arXiv 2404.06395) with the linear decay of V-JEPA 2 (arXiv 2506.09985). Weight decay may follow
a half cosine, as in V-JEPA 1 (arXiv 2404.08471). Released codes differ in the number that the first step has
(`Optim.counting`).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.train.config import Optim, Run
from surgvl.train.distributed import full_tensor
from surgvl.train.muon import Muon
from surgvl.train.objective import Objective

Group = dict[str, Any]

# A numbered part of a model is a layer of a stack: its matrices are hidden ones, while tables and heads lie outside.
IN_STACK = re.compile(r"(^|\.)\d+\.")
# The first layer of an encoder, or a numbered block of it.
IN_ENCODER = re.compile(r"((?:^|.*\.)encoder)\.(?:embed|blocks\.(\d+))\.")


class MuonAdamW(torch.optim.Optimizer):
    """Muon for some parameter groups and another optimizer for the rest.

    If `found_inf`, a float32 scalar on the device, is 1, the step is skipped, as in torch's fused optimizers.

    Args:
        hidden: groups of matrices, for Muon.
        rest: optimizer of everything else.
        lr: learning rate of both.
    """

    found_inf: Tensor | None = None

    def __init__(self, hidden: list[Group], rest: torch.optim.Optimizer, lr: float):
        super().__init__([*hidden, *rest.param_groups], {"lr": lr})
        muon = Muon(hidden, lr)
        self.parts: list[torch.optim.Optimizer] = [muon, rest]
        self._link()

    def _link(self) -> None:
        """Share the groups of both, so that a learning rate set here reaches them."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; `closure` computes the loss and its gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        muon, rest = self.parts
        if self.found_inf is None:
            muon.step()
        else:
            # Muon cannot skip a step on the device, so the step is taken and, if it is to be skipped, undone.
            matrices = [parameter for group in muon.param_groups for parameter in group["params"]]
            held = [*matrices, *(state["momentum_buffer"] for state in muon.state.values())]
            before = torch._foreach_clone(held)
            muon.step()
            for now, then in zip(held, before, strict=True):
                now.copy_(torch.where(self.found_inf.bool(), then, now))
            rest.found_inf = self.found_inf  # type: ignore[attr-defined]
        rest.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the states of both."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._link()


def layer_lr_scales(names: Sequence[str], layer_decay: float) -> dict[str, float]:
    """Factor on the learning rate of each encoder parameter, which falls from block to block towards the input.

    Of `depth` blocks, block i has layer_decay^(depth - i) and the patch embedding layer_decay^(depth + 1).

    Args:
        names: of all parameters; an encoder's are `...encoder.blocks.N....` and `...encoder.embed....`.
        layer_decay: factor of a layer over that of the one above it.

    Raises:
        ConfigError: there is no such encoder.
    """
    if layer_decay == 1:
        return {}
    found = {name: place.groups() for name in names if (place := IN_ENCODER.match(name))}
    depths: dict[str, int] = {}
    for encoder, number in found.values():
        depths[encoder] = max(depths.get(encoder, 0), 0 if number is None else int(number) + 1)
    if not any(depths.values()):
        raise ConfigError(f"--optim.layer_decay {layer_decay} needs an encoder with numbered blocks: leave it at 1")
    return {
        name: layer_decay ** (depths[encoder] - (-1 if number is None else int(number)))
        for name, (encoder, number) in found.items()
    }


def build_optimizer(
    named: Iterable[tuple[str, nn.Parameter]],
    lr_scales: dict[str, float],
    optim: Optim,
    fused: bool = True,
    undecayed: Sequence[str] = (),
    decay_scales: Mapping[str, float] = MappingProxyType({}),
) -> torch.optim.Optimizer:
    """Optimizer of all trainable parameters: matrices have weight decay, vectors have none.

    Args:
        named: parameters with their names; those without gradient are left out.
        lr_scales: prefix of names -> factor on the learning rate, kept as a group's `lr_scale`; the first match counts.
        optim: settings; with `muon_lr_ratio` above 0, Muon trains hidden matrices at that multiple of the rate.
        fused: torch's fused AdamW, whose gradients a gradient scaler cannot unscale before the step.
        undecayed: names of matrices without weight decay.
        decay_scales: prefix of names -> factor on the weight decay, kept as a group's `decays`; the first match counts.

    Raises:
        ConfigError: nothing is trained, or `layer_decay` finds no encoder.
    """
    named = list(named)
    layers = layer_lr_scales([name for name, _ in named], optim.layer_decay)
    sorted_out: dict[tuple[bool, float, float], list[Tensor]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            scale = _factor(lr_scales, name) * layers.get(name, 1.0)
            hidden = optim.muon_lr_ratio > 0 and parameter.ndim == 2 and IN_STACK.search(name) is not None
            decays = _factor(decay_scales, name) if parameter.ndim > 1 and name not in undecayed else 0.0
            sorted_out.setdefault((hidden, scale, decays), []).append(parameter)
    if not sorted_out:
        raise ConfigError("all parameters are frozen: unfreeze some")

    def groups(muon: bool) -> list[Group]:
        return [
            {
                "params": parameters,
                "weight_decay": optim.weight_decay * decays,
                "decays": decays,
                "lr_scale": scale * optim.muon_lr_ratio if muon else scale,
            }
            for (hidden, scale, decays), parameters in sorted_out.items()
            if hidden == muon
        ]

    matrices = groups(True)
    adamw = torch.optim.AdamW(groups(False), lr=optim.lr, betas=(optim.beta1, optim.beta2), eps=optim.eps, fused=fused)
    return MuonAdamW(matrices, adamw, optim.lr) if matrices else adamw


def _factor(scales: Mapping[str, float], name: str) -> float:
    """The factor of the first prefix that a name has, else 1."""
    return next((value for prefix, value in scales.items() if name.startswith(prefix)), 1.0)


def optimizer_of(objective: Objective, optim: Optim, run: Run) -> torch.optim.Optimizer:
    """The optimizer of an objective under a run's settings.

    Raises:
        ConfigError: see `build_optimizer`; or Muon with fsdp.
    """
    fused = run.precision != "16-mixed"
    named, spared = objective.named_parameters(), objective.undecayed()
    optimizer = build_optimizer(named, objective.lr_scales(), optim, fused, spared, objective.decay_scales())
    if isinstance(optimizer, MuonAdamW) and run.strategy == "fsdp":
        raise ConfigError(
            "--optim.muon_lr_ratio needs whole matrices, which fsdp shards: use --run.strategy ddp, or "
            "--optim.muon_lr_ratio 0"
        )
    return optimizer


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients down to a total norm, without reading from the device.

    Args:
        parameters: those with gradients count.
        max_norm: largest norm; 0: leave the gradients as they are.

    Returns:
        Norm before clipping, scalar.
    """
    trained = [each for each in parameters if each.grad is not None]
    gradients = [each.grad for each in trained if each.grad is not None]
    norm = full_tensor(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if max_norm:
        torch.nn.utils.clip_grads_with_norm_(trained, max_norm, norm, foreach=True)
    return norm


# ---- schedules


def _half_cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def schedule_progress(step: int, steps: int, optim: Optim) -> float:
    """Share of the schedules that lies before step 0 <= `step` < `steps`, in [0, 1)."""
    return step / (optim.schedule_scale * steps)


def learning_rate(step: int, steps: int, optim: Optim) -> float:
    """Learning rate of step 0 <= `step` < `steps`."""
    warm = round(optim.warmup * steps)
    if optim.counting == "mixed":
        warm = max(1, warm)
    if step < warm:
        # From zero, the line's first value is that of the first step and its last that of the last warm step.
        done = step / max(1, warm - 1) if optim.counting == "from_zero" else (step + 1) / warm
        return optim.lr * (optim.warmup_start + (1 - optim.warmup_start) * done)
    step += optim.counting == "from_one"
    if optim.schedule == "cosine":
        high = _half_cosine((step - warm) / max(1, optim.schedule_scale * steps - warm))
    elif optim.schedule == "wsd":
        tail = round(optim.decay * steps)
        high = min(1.0, (steps - step) / max(1, tail))
    else:
        return optim.lr
    return optim.lr * (optim.min_lr_ratio + (1 - optim.min_lr_ratio) * high)


def weight_decay(step: int, steps: int, optim: Optim) -> float:
    """Weight decay of step 0 <= `step` < `steps`: constant, or a half cosine to its final value."""
    first, last = optim.weight_decay, optim.final_weight_decay
    if last is None:
        return first
    step += optim.counting == "from_one"
    return last + (first - last) * _half_cosine(schedule_progress(step, steps, optim))


def apply_schedule(optimizer: torch.optim.Optimizer, step: int, steps: int, optim: Optim) -> None:
    """Set learning rate and weight decay of a step in the groups of an optimizer made by `build_optimizer`."""
    lr, decay = learning_rate(step, steps, optim), weight_decay(step, steps, optim)
    for group in optimizer.param_groups:
        group["lr"] = group["lr_scale"] * lr
        if group["decays"]:
            group["weight_decay"] = decay * group["decays"]
