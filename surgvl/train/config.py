"""Settings of every training command: the optimizer with its schedule, and the length and devices of a run."""

import math
from dataclasses import dataclass

from surgvl.core.errors import ConfigError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true")
SCHEDULES = ("cosine", "constant", "wsd")
COUNTINGS = ("mixed", "from_zero", "from_one")
STRATEGIES = ("auto", "ddp", "fsdp")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")
LOGGERS = ("none", "csv", "tensorboard", "wandb")


def _within(flag: str, value: float, low: float, high: float = math.inf) -> None:
    allowed = f"between {low:g} and {high:g}" if high < math.inf else f">= {low:g}"
    if not math.isfinite(value) or not low <= value <= high:
        raise ConfigError(f"--{flag} must be {allowed}, got {value}")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"--{flag} must be one of {', '.join(allowed)}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimizer and its schedule.

    Args:
        lr: peak learning rate.
        muon_lr_ratio: learning rate of Muon, for the hidden matrices, as a multiple of lr; 0: AdamW for everything.
        weight_decay: weight decay of matrices; vectors (biases, norms) have none.
        final_weight_decay: weight decay at the end, reached along a half cosine, as in V-JEPA 1; by default, weight
            decay is constant.
        layer_decay: learning rate of an encoder block as a fraction of that of the block above it; 1: all equal.
        beta1: first-moment decay.
        beta2: second-moment decay.
        eps: added to the square root of the second moment.
        schedule: cosine, constant or wsd (warm-up, stable, linear decay).
        warmup: fraction of the steps with linear warm-up.
        warmup_start: learning rate at the start of the warm-up, as a fraction of lr.
        decay: fraction of the steps in which wsd decays the learning rate.
        min_lr_ratio: final learning rate as a fraction of lr.
        schedule_scale: length of the schedules of cosines and of an EMA's momentum as a multiple of the steps; above 1,
            training ends before they do (V-JEPA 1: 1.25).
        counting: number of the first step in the schedules. from_zero as in VideoMAE: it has the rate at which the
            warm-up starts; from_one as in V-JEPA: rate and decay are a step ahead; mixed: the warm-up from one, the
            rest from zero.
        clip_norm: maximum norm of the gradients; 0: no clipping.
    """

    lr: float = 1e-3
    muon_lr_ratio: float = 0.0
    weight_decay: float = 0.05
    final_weight_decay: float | None = None
    layer_decay: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    schedule: str = "cosine"
    warmup: float = 0.05
    warmup_start: float = 0.0
    decay: float = 0.2
    min_lr_ratio: float = 0.01
    schedule_scale: float = 1.0
    counting: str = "mixed"
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that no optimizer can have.

        Raises:
            ConfigError: a number is out of range, or the schedule unknown.
        """
        for name in ("lr", "muon_lr_ratio", "weight_decay", "eps", "clip_norm"):
            _within(f"optim.{name}", getattr(self, name), 0)
        for name in ("warmup", "warmup_start", "decay", "min_lr_ratio"):
            _within(f"optim.{name}", getattr(self, name), 0, 1)
        for name in ("beta1", "beta2"):
            _within(f"optim.{name}", getattr(self, name), 0, 0.999999)
        _within("optim.layer_decay", self.layer_decay, 0.01, 1)
        _within("optim.schedule_scale", self.schedule_scale, 1)
        if self.final_weight_decay is not None:
            _within("optim.final_weight_decay", self.final_weight_decay, 0)
        _one_of("optim.schedule", self.schedule, SCHEDULES)
        _one_of("optim.counting", self.counting, COUNTINGS)
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ConfigError(
                f"--optim.warmup and --optim.decay must add up to at most 1, got {self.warmup} and {self.decay}"
            )


@dataclass(frozen=True, kw_only=True)
class Run:
    """Length and devices of a run.

    Args:
        steps: optimizer steps.
        batch: clips per step, over all devices and micro-batches.
        seed: random seed.
        precision: Lightning precision, such as 32-true or bf16-mixed; auto: bf16-mixed if the hardware supports it.
        accelerator: cpu, cuda or mps; auto: the fastest one available.
        devices: number of devices on each node.
        nodes: number of nodes.
        strategy: ddp copies the model to each device, fsdp shards it over them; auto: ddp for several devices.
        accumulate: micro-batches whose gradients each device accumulates per step, to save memory.
        compile: compile the objective's large modules with torch.compile.
        workers: data loading processes per device; 0 loads in the training process.
        save_every: steps between checkpoints.
        log_every: steps between lines of metrics.jsonl.
        logger: csv, tensorboard or wandb, in addition to metrics.jsonl; or none.
        skip_loss_std: skip a step whose loss is more than this many standard deviations above the mean of the last
            skip_window losses; 0: never skip.
        skip_window: number of previous losses to compare a loss with.
    """

    steps: int = 1000
    batch: int = 32
    seed: int = 0
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    accumulate: int = 1
    compile: bool = False
    workers: int = 0
    save_every: int = 100
    log_every: int = 20
    logger: str = "none"
    skip_loss_std: float = 0.0
    skip_window: int = 300

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            ConfigError: a count below 1, an unknown option, a batch that cannot be divided evenly, or settings that
                exclude each other.
        """
        for name in ("steps", "batch", "devices", "nodes", "accumulate", "save_every", "log_every", "skip_window"):
            _within(f"run.{name}", getattr(self, name), 1)
        _within("run.workers", self.workers, 0)
        _within("run.skip_loss_std", self.skip_loss_std, 0)
        _one_of("run.precision", self.precision, PRECISIONS)
        _one_of("run.accelerator", self.accelerator, ACCELERATORS)
        _one_of("run.strategy", self.strategy, STRATEGIES)
        _one_of("run.logger", self.logger, LOGGERS)
        parts = self.devices * self.nodes * self.accumulate
        if self.batch % parts:
            raise ConfigError(
                f"--run.batch must be a multiple of {parts} ({self.devices} devices x {self.nodes} nodes x "
                f"{self.accumulate} micro-batches), got {self.batch}"
            )
        if self.precision == "16-mixed" and (self.skip_loss_std or self.strategy == "fsdp"):
            raise ConfigError(
                "--run.precision must not be 16-mixed with --run.skip_loss_std or --run.strategy fsdp: use bf16-mixed"
            )


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device (cpu or cuda) has bfloat16 instructions and torch uses them.

    Elsewhere bfloat16 is emulated and slower than float32: on a CPU without them, matrix products run on one core in a
    scalar loop. A torch that is restricted to AVX2 (`ATEN_CPU_CAPABILITY`) does not use the AVX-512 ones.
    """
    # Imported here, because help and usage errors must not wait for torch.
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and bool(torch.cpu._is_avx512_bf16_supported())


def precision(given: str, device: str = "") -> str:
    """The precision to train in: as given; for `auto`, bf16-mixed on hardware with bfloat16 instructions.

    Args:
        given: one of `PRECISIONS`.
        device: cpu, cuda or mps; by default, cuda if available, else cpu.
    """
    if given != "auto":
        return given
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return "bf16-mixed" if multiplies_bfloat16(device) else "32-true"
