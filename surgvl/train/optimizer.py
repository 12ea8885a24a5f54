"""AdamW (arXiv 1711.05101), or Muon for the hidden matrices and AdamW for all else, as one torch optimiser.

Muon's steps are scaled to the root mean square of AdamW's (`surgvl.train.muon`), so that one learning rate and one
schedule serve both. Layer-wise rates are those of BEiT (arXiv 2106.08254).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.train.config import Optim
from surgvl.train.muon import Muon

Group = dict[str, Any]

# A numbered part of a model is a layer of a stack: its matrices are hidden, tables and heads lie outside.
IN_STACK = re.compile(r"(^|\.)\d+\.")
# The first layer of an encoder, or a numbered block of it.
IN_ENCODER = re.compile(r"((?:^|.*\.)encoder)\.(?:embed|blocks\.(\d+))\.")


class MuonAdamW(torch.optim.Optimizer):
    """Muon for some parameter groups and AdamW for the others.

    `found_inf`, a float32 scalar on the device, leaves out a step where it is 1, as in torch's fused optimisers.

    Args:
        hidden: groups of matrices, for Muon.
        rest: the optimiser of all else.
        lr: learning rate of both.
    """

    found_inf: Tensor | None = None

    def __init__(self, hidden: list[Group], rest: torch.optim.Optimizer, lr: float):
        super().__init__([*hidden, *rest.param_groups], {"lr": lr})
        muon = Muon(hidden, lr)
        self.parts: list[torch.optim.Optimizer] = [muon, rest]
        self._link()

    def _link(self) -> None:
        """Show the groups of both, the very ones, so that a schedule that sets their rates reaches the steps."""
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
            # Muon has no way to leave out a step on the device, so it is taken, and taken back where it must be.
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
        """Take up the states of both."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._link()


def layer_rates(names: Sequence[str], layer_decay: float) -> dict[str, float]:
    """Share of the learning rate of each parameter of an encoder: less from block to block downwards.

    Of `depth` blocks, block i has layer_decay^(depth - i) and the patch embedding layer_decay^(depth + 1).

    Args:
        names: of all parameters; an encoder's are `...encoder.blocks.N....` and `...encoder.embed....`.
        layer_decay: rate of a layer over that of the one above it.

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
        raise ConfigError(f"--optim.layer_decay {layer_decay} finds no encoder with numbered blocks: leave it at 1")
    return {
        name: layer_decay ** (depths[encoder] - (-1 if number is None else int(number)))
        for name, (encoder, number) in found.items()
    }


def build_optimiser(
    named: Iterable[tuple[str, nn.Parameter]], rates: dict[str, float], optim: Optim, fused: bool = True
) -> torch.optim.Optimizer:
    """Groups of what is trained: matrices decay, vectors do not; parts may have their own share of the rate.

    Args:
        named: parameters with their names; those without gradient are left out.
        rates: start of a name -> share of the learning rate, kept in a group's `rate`; the first that fits counts.
        optim: settings; with `muon` above 0, hidden matrices take Muon's steps at that share of the learning rate.
        fused: torch's fused AdamW; a gradient scaler does not let its gradients be clipped.

    Raises:
        ConfigError: nothing is trained, or `layer_decay` finds no encoder.
    """
    named = list(named)
    layers = layer_rates([name for name, _ in named], optim.layer_decay)
    sorted_out: dict[tuple[bool, float, bool], list[Tensor]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            rate = next((value for start, value in rates.items() if name.startswith(start)), 1.0)
            rate *= layers.get(name, 1.0)
            hidden = optim.muon > 0 and parameter.ndim == 2 and IN_STACK.search(name) is not None
            sorted_out.setdefault((hidden, rate, parameter.ndim > 1), []).append(parameter)
    if not sorted_out:
        raise ConfigError("no parameter is trained: every one is frozen; set one free")

    def groups(muon: bool) -> list[Group]:
        return [
            {
                "params": parameters,
                "weight_decay": optim.weight_decay if decays else 0.0,
                "decays": decays,
                "rate": rate * optim.muon if muon else rate,
            }
            for (hidden, rate, decays), parameters in sorted_out.items()
            if hidden == muon
        ]

    matrices = groups(True)
    adamw = torch.optim.AdamW(groups(False), lr=optim.lr, betas=(optim.beta1, optim.beta2), eps=optim.eps, fused=fused)
    return MuonAdamW(matrices, adamw, optim.lr) if matrices else adamw
