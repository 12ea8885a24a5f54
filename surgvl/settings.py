"""How a run is optimised, and how long and where it runs: what every training command takes."""

from dataclasses import dataclass

import torch

from surgvl.errors import ConfigError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimiser and its schedule.

    Args:
        lr: peak learning rate.
        muon: rate of Muon's steps on the hidden matrices over `lr`; 0: AdamW for everything.
        weight_decay: for matrices; vectors (biases, norms) have none.
        beta2: second-moment decay.
        warmup: share of the steps with linear warm-up.
        floor: final learning rate over the peak.
        clip_norm: gradient norm is clipped to this.
    """

    lr: float = 1e-3
    muon: float = 0.0
    weight_decay: float = 0.05
    beta2: float = 0.95
    warmup: float = 0.05
    floor: float = 0.01
    clip_norm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """Length and place of a run.

    Args:
        steps: optimiser steps.
        batch: clips a step, over all devices.
        seed: of everything.
        precision: Lightning's word, such as 32-true or bf16-mixed; auto takes bf16-mixed where the hardware has it.
        devices: number of devices on each node.
        nodes: number of nodes.
        workers: data loading processes a device; 0 loads in the training process.
        save_every: steps between checkpoints.
        log_every: steps between lines of metrics.jsonl.
    """

    steps: int = 1000
    batch: int = 32
    seed: int = 0
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 0
    save_every: int = 100
    log_every: int = 20

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            ConfigError: a count below 1, or an unknown precision.
        """
        for name in ("steps", "batch", "devices", "nodes", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--run.{name} {getattr(self, name)} is below 1: give 1 or more")
        if self.workers < 0:
            raise ConfigError(f"--run.workers {self.workers} is below 0: give 0 or more")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"--run.precision {self.precision!r} is unknown; allowed are {', '.join(PRECISIONS)}")


def precision(asked: str) -> str:
    """The precision to train in: what was asked, or for `auto` bf16-mixed on hardware that multiplies bfloat16."""
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    # Emulated bfloat16 is slower than float32, so ask for the instructions themselves.
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
