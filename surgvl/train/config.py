"""How a run is optimised, and how long and where it runs: what every training command takes."""

import math
from dataclasses import dataclass

from surgvl.core.errors import ConfigError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true")
SCHEDULES = ("cosine", "constant", "wsd")
STRATEGIES = ("auto", "ddp", "fsdp")
LOGGERS = ("none", "csv", "tensorboard", "wandb")


def _within(flag: str, value: float, low: float, high: float = math.inf) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"--{flag} {value} is not finite: give a number")
    if not low <= value <= high:
        allowed = f"outside {low:g} to {high:g}" if high < math.inf else f"below {low:g}"
        raise ConfigError(f"--{flag} {value} is {allowed}: give a number that is not")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"--{flag} {value!r} is unknown; allowed are {', '.join(allowed)}: choose one of them")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimiser and its schedule.

    Args:
        lr: peak learning rate.
        muon: rate of Muon's steps on the hidden matrices over `lr`; 0: AdamW for everything.
        weight_decay: for matrices; vectors (biases, norms) have none.
        final_weight_decay: weight decay goes there along a half cosine, as in V-JEPA 1; none: it stays.
        layer_decay: rate of an encoder block over that of the block above it; 1: the same for all.
        beta1: first-moment decay.
        beta2: second-moment decay.
        eps: added to the root of the second moment.
        schedule: cosine; constant; or wsd: warm-up, stable, and a linear decay in the last `decay` of the steps.
        warmup: share of the steps with linear warm-up.
        start: learning rate before the warm-up over the peak.
        decay: share of the steps that wsd decays in.
        floor: final learning rate over the peak.
        stretch: cosines are laid out over this many times the steps and cut off at the end (V-JEPA 1: 1.25).
        clip_norm: gradient norm is clipped to this; 0: it is not.
    """

    lr: float = 1e-3
    muon: float = 0.0
    weight_decay: float = 0.05
    final_weight_decay: float | None = None
    layer_decay: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    schedule: str = "cosine"
    warmup: float = 0.05
    start: float = 0.0
    decay: float = 0.2
    floor: float = 0.01
    stretch: float = 1.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers that no optimiser can have.

        Raises:
            ConfigError: a number out of range, or an unknown schedule.
        """
        for name in ("lr", "muon", "weight_decay", "eps", "clip_norm"):
            _within(f"optim.{name}", getattr(self, name), 0)
        for name in ("warmup", "start", "decay", "floor"):
            _within(f"optim.{name}", getattr(self, name), 0, 1)
        for name in ("beta1", "beta2"):
            _within(f"optim.{name}", getattr(self, name), 0, 0.999999)
        _within("optim.layer_decay", self.layer_decay, 0.01, 1)
        _within("optim.stretch", self.stretch, 1)
        if self.final_weight_decay is not None:
            _within("optim.final_weight_decay", self.final_weight_decay, 0)
        _one_of("optim.schedule", self.schedule, SCHEDULES)
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ConfigError(
                f"--optim.warmup {self.warmup} and --optim.decay {self.decay} are more than the whole run together: "
                f"lower one of them"
            )


@dataclass(frozen=True, kw_only=True)
class Run:
    """Length and place of a run.

    Args:
        steps: optimiser steps.
        batch: clips a step, over all devices and all parts of `accumulate`.
        seed: of everything.
        precision: Lightning's word, such as 32-true or bf16-mixed; auto takes bf16-mixed where the hardware has it.
        devices: number of devices on each node.
        nodes: number of nodes.
        strategy: ddp copies the model to each device, fsdp splits it over them; auto takes ddp where there are several.
        accumulate: parts that a step's batch is worked through in, one after another, to save memory.
        compile: let torch.compile fuse the objective's large parts.
        workers: data loading processes a device; 0 loads in the training process.
        save_every: steps between checkpoints.
        log_every: steps between lines of metrics.jsonl.
        logger: csv, tensorboard or wandb, beside metrics.jsonl; or none.
        spike: leave out a step whose loss is more than this many standard deviations above the mean of the last 300; 0:
            leave none out.
    """

    steps: int = 1000
    batch: int = 32
    seed: int = 0
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    accumulate: int = 1
    compile: bool = False
    workers: int = 0
    save_every: int = 100
    log_every: int = 20
    logger: str = "none"
    spike: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            ConfigError: a count below 1, an unknown word, a batch that cannot be shared out, or settings that exclude
                one another.
        """
        for name in ("steps", "batch", "devices", "nodes", "accumulate", "save_every", "log_every"):
            _within(f"run.{name}", getattr(self, name), 1)
        _within("run.workers", self.workers, 0)
        _within("run.spike", self.spike, 0)
        _one_of("run.precision", self.precision, PRECISIONS)
        _one_of("run.strategy", self.strategy, STRATEGIES)
        _one_of("run.logger", self.logger, LOGGERS)
        parts = self.devices * self.nodes * self.accumulate
        if self.batch % parts:
            raise ConfigError(
                f"--run.batch {self.batch} cannot be shared out over {self.devices} devices x {self.nodes} nodes x "
                f"{self.accumulate} parts: give a multiple of {parts}"
            )
        if self.precision == "16-mixed" and (self.spike or self.strategy == "fsdp"):
            raise ConfigError("--run.precision 16-mixed has no --run.spike and no fsdp: take bf16-mixed")


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device (cpu or cuda) multiplies bfloat16 by instructions of its own, which torch uses.

    Elsewhere bfloat16 is emulated and slower than float32: on a CPU without them products run on one core by a scalar
    loop. A torch that was told to stay with AVX2 (`ATEN_CPU_CAPABILITY`) does not use those of AVX-512.
    """
    # Here, because help and typing errors of the commands do without torch.
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and bool(torch.cpu._is_avx512_bf16_supported())


def precision(asked: str) -> str:
    """The precision to train in: what was asked, or for `auto` bf16-mixed on hardware that multiplies bfloat16."""
    if asked != "auto":
        return asked
    import torch

    return "bf16-mixed" if multiplies_bfloat16("cuda" if torch.cuda.is_available() else "cpu") else "32-true"
