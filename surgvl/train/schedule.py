"""Learning rate and weight decay of a step: pure functions of its number.

Half cosine (arXiv 1608.03983) after a linear warm-up; constant; or warm-up, stable, decay (arXiv 2404.06395) with the
linear decay of V-JEPA 2 (arXiv 2506.09985). Weight decay may follow a half cosine, as in V-JEPA 1 (arXiv 2404.08471).
Released codes differ in the number that the first step has (`Optim.counting`).
"""

import math

import torch

from surgvl.train.config import Optim


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
