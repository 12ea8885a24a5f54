"""AdamW (arXiv 1711.05101), or Muon for the hidden matrices and AdamW for all else, as one torch optimiser.

Muon (Jordan et al., 2024) takes the orthogonal factor of each matrix's momentum as its step; the steps are scaled to
the root mean square of AdamW's (arXiv 2502.16982), so that one learning rate and one schedule serve both.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.settings import Optim

Group = dict[str, Any]

# A numbered part of a model is a layer of a stack: its matrices are hidden, tables and heads lie outside.
IN_STACK = re.compile(r"(^|\.)\d+\.")


class MuonAdamW(torch.optim.Optimizer):
    """Muon for some parameter groups and AdamW for the others.

    Args:
        hidden: groups of matrices, for Muon.
        rest: groups for AdamW.
        lr: learning rate of both.
        beta2: second-moment decay of AdamW.
    """

    def __init__(self, hidden: list[Group], rest: list[Group], lr: float, beta2: float):
        super().__init__([*hidden, *rest], {"lr": lr})
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(hidden, lr=lr, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, beta2), fused=True),
        ]
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
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the states of both."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._link()


def build_optimiser(
    named: Iterable[tuple[str, nn.Parameter]], rates: dict[str, float], optim: Optim
) -> torch.optim.Optimizer:
    """Groups of what is trained: matrices decay, vectors do not; parts may have their own share of the rate.

    Args:
        named: parameters with their names; those without gradient are left out.
        rates: start of a name -> share of the learning rate, kept in a group's `rate`; the first that fits counts.
        optim: settings; with `muon` above 0, hidden matrices take Muon's steps at that share of the learning rate.
    """
    sorted_out: dict[tuple[bool, float, bool], list[Tensor]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            rate = next((value for start, value in rates.items() if name.startswith(start)), 1.0)
            hidden = optim.muon > 0 and parameter.ndim == 2 and IN_STACK.search(name) is not None
            sorted_out.setdefault((hidden, rate, parameter.ndim > 1), []).append(parameter)

    def groups(muon: bool) -> list[Group]:
        return [
            {
                "params": parameters,
                "weight_decay": optim.weight_decay if decay else 0.0,
                "rate": rate * optim.muon if muon else rate,
            }
            for (hidden, rate, decay), parameters in sorted_out.items()
            if hidden == muon
        ]

    if groups(True):
        return MuonAdamW(groups(True), groups(False), optim.lr, optim.beta2)
    return torch.optim.AdamW(groups(False), lr=optim.lr, betas=(0.9, optim.beta2), fused=True)
