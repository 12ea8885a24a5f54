"""Estimate the cost of a recipe's step without running it: tokens, parameters, FLOPs, memory, hours.

Forward and backward run on the `meta` device, so ViT-g needs no more memory than ViT-Ti. FLOPs are those of matrix
products, by torch's own counter; attention counts as two products forward and four backward, as in a fused kernel,
which keeps only queries, keys, values and output. Recomputation by activation checkpointing is counted.
Shapes: B clips, N tokens.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from surgvl.models.vit import Transformer
from surgvl.pretrain.base import Recipe
from surgvl.train.config import Optim, Run, precision

DTYPES = {"32-true": torch.float32, "64-true": torch.float64, "16-mixed": torch.float16}
GIB = 2.0**30


@dataclass(frozen=True)
class Estimate:
    """The cost of a step.

    Args:
        name: name of the recipe.
        batch: clips per step, over all devices.
        devices: number of devices over all nodes.
        tokens: N, tokens per clip.
        visible: tokens per clip that the encoder sees, for each of its passes in a step.
        num_parameters: of the recipe, including teachers.
        num_trained: trainable ones among them.
        flops: of a step, forward and backward, over all devices.
        memory: bytes per device, by purpose.
        num_clips: clips that `hours` is for.
        rate: peak FLOP/s of one device.
        utilisation: fraction of the peak that a step reaches.
    """

    name: str
    batch: int
    devices: int
    tokens: int
    visible: tuple[int, ...]
    num_parameters: int
    num_trained: int
    flops: float
    memory: dict[str, float]
    num_clips: int
    rate: float
    utilisation: float

    @property
    def hours(self) -> float:
        """Hours for `num_clips` clips on all devices."""
        return self.flops / self.batch * self.num_clips / (self.rate * self.utilisation * self.devices) / 3600

    def to_text(self) -> str:
        """The estimate as aligned lines."""
        seen = ", ".join(f"{num:,}" for num in self.visible)
        parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in self.memory.items())
        rows = {
            "step": f"{self.batch:,} clips on {self.devices} device{'s' * (self.devices > 1)}",
            "tokens a clip": f"{self.tokens:,}, of which the encoder sees {seen}",
            "parameters": f"{self.num_parameters:,}, of which {self.num_trained:,} are trained",
            "FLOPs a step": f"{self.flops:.3g} forward and backward, {self.flops / self.batch:.3g} a clip",
            "memory a device": f"{sum(self.memory.values()) / GIB:.2f} GiB ({parts})",
            f"{self.num_clips:,} clips": f"{self.hours:,.2f} hours at {self.utilisation:.0%} of {self.rate:.3g} FLOP/s",
        }
        wide = max(map(len, rows))
        return "\n".join([f"{self.name}, estimated", *(f"  {name:{wide}}  {text}" for name, text in rows.items())])


class _Attention(torch.autograd.Function):
    """Attention on the meta device: keeps the tensors that a fused kernel keeps, and counts its FLOPs."""

    @staticmethod
    def forward(ctx: Any, counts: list[float], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Kernels lay out tokens before heads, so the following reshape needs no copy.
        B, heads, N, _ = q.shape
        out = q.new_empty(B, N, heads, v.shape[-1]).transpose(1, 2)
        ctx.save_for_backward(q, k, v, out)
        ctx.counts, ctx.flops = counts, 2.0 * q[..., 0].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        counts.append(ctx.flops)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        q, k, v, _ = ctx.saved_tensors
        ctx.counts.append(2 * ctx.flops)
        return None, torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


class _Fused(TorchFunctionMode):
    """Replaces torch's attention, which has no fused kernel on the meta device, by `_Attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[float] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _Attention.apply(self.counts, *args[:3])  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def on_meta(recipe: Recipe) -> Recipe:
    """A copy on the meta device."""
    held: dict[int, Any] = {id(b): torch.empty_like(b, device="meta") for b in recipe.buffers()}
    for p in recipe.parameters():
        held[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
    # deepcopy does not copy what its memo holds.
    return copy.deepcopy(recipe, held)


def clips_on_meta(recipe: Recipe, num_clips: int) -> dict[str, Tensor]:
    """A batch of augmented clips on the meta device."""
    encoder = recipe.encoder
    shape = (num_clips, 3, encoder.config.num_frames, encoder.config.size_px, encoder.config.size_px)
    return {"video": torch.empty(shape, device="meta")}


@dataclass
class DryStep:
    """The cost of one forward and backward pass.

    Args:
        flops: of both.
        kept: bytes of activations kept for the backward pass.
        visible: tokens per clip that each pass of the encoder sees.
    """

    flops: float
    kept: float
    visible: tuple[int, ...]


def dry_step(recipe: Recipe, num_clips: int, mixed: bool = False) -> DryStep:
    """Run B clips forward and backward on the meta device.

    Args:
        recipe: left unchanged.
        num_clips: B.
        mixed: activations have half precision, except the inputs of layer norms, which autocast keeps in float32.
    """
    recipe = on_meta(recipe).train()
    meter = _Meter(recipe, num_clips)
    hooks = torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda x: x)
    with torch.random.fork_rng(devices=[]), meter.fused, meter.counter:
        with hooks:
            loss = recipe(clips_on_meta(recipe, num_clips))["loss"]
        loss.backward()
    return DryStep(meter.flops() + meter.recomputed, meter.bytes(mixed), tuple(meter.visible))


class _Meter:
    """Measures a pass: its FLOPs, and the tensors kept outside and inside checkpointed blocks.

    Checkpointing is turned off to see inside blocks; the FLOPs it would repeat are summed up in `recomputed`.
    """

    def __init__(self, recipe: Recipe, num_clips: int):
        from torch.utils.flop_counter import FlopCounterMode

        self.num_clips, self.fused, self.counter = num_clips, _Fused(), FlopCounterMode(display=False)
        self.recomputed, self.inputs, self.before, self.block = 0.0, 0.0, 0.0, 0
        self.visible: list[int] = []
        # Storage -> a tensor in it, held so that no later storage gets its id, and the block that keeps it.
        self.kept: dict[int, tuple[Tensor, int]] = {}
        self.own = {p.untyped_storage()._cdata for p in recipe.parameters()}
        self.norm_inputs: set[int] = set()
        recipe.encoder.register_forward_hook(self.count_visible)
        for module in recipe.modules():
            if isinstance(module, nn.LayerNorm):
                module.register_forward_pre_hook(self.note_norm_input)
            if isinstance(module, Transformer) and module.checkpoint:
                module.checkpoint = False
                for block in module:
                    block.register_forward_pre_hook(self.enter_block)
                    block.register_forward_hook(self.leave_block)

    def flops(self) -> float:
        return self.counter.get_total_flops() + sum(self.fused.counts)

    def count_visible(self, module: nn.Module, args: Any, out: Tensor) -> None:
        self.visible.append(out.shape[:-1].numel() // self.num_clips)

    def note_norm_input(self, module: nn.Module, args: Any) -> None:
        self.norm_inputs.add(args[0].untyped_storage()._cdata)

    def enter_block(self, module: nn.Module, args: Any) -> None:
        self.before, self.block = self.flops(), id(module)
        if torch.is_grad_enabled():
            self.inputs += args[0].numel() * args[0].element_size()

    def leave_block(self, module: nn.Module, args: Any, out: Any) -> None:
        self.block = 0
        if torch.is_grad_enabled():
            self.recomputed += self.flops() - self.before

    def pack(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()._cdata
        if storage not in self.own:
            self.kept.setdefault(storage, (x, self.block))
        return x

    def bytes(self, mixed: bool) -> float:
        """Bytes kept outside checkpointed blocks, plus their inputs and the inside of the largest block."""
        sums = {0: 0.0}
        for storage, (x, block) in self.kept.items():
            half = mixed and x.is_floating_point() and storage not in self.norm_inputs
            sums[block] = sums.get(block, 0.0) + x.untyped_storage().nbytes() * (0.5 if half else 1.0)
        outside = sums.pop(0)
        return outside + (self.inputs + max(sums.values()) if sums else 0.0)


def matmul_rate(dtype: torch.dtype = torch.float32, seconds: float = 0.2) -> float:
    """Peak FLOP/s of square matrix products on this machine's device; takes about `seconds`."""
    cuda = torch.cuda.is_available()
    size = 8192 if cuda else 1024
    a = torch.randn(size, size, device="cuda" if cuda else "cpu").to(dtype)
    wait: Callable[[], None] = torch.cuda.synchronize if cuda else (lambda: None)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        wait()
        start = time.perf_counter()
        a @ a
        wait()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def estimate(
    recipe: Recipe,
    run: Run,
    num_clips: int = 1_000_000,
    optim: Optim = Optim(),  # noqa: B008 (frozen)
    rate: float | None = None,
    utilisation: float = 0.5,
    read_px: int | None = None,
) -> Estimate:
    """Tokens, parameters, FLOPs, memory and hours of a recipe, from one draw of its masks.

    Args:
        recipe: left unchanged.
        run: batch, devices, strategy and precision matter.
        num_clips: clips that `hours` is for.
        optim: the optimizer; Muon keeps one moment where AdamW keeps two.
        rate: peak FLOP/s of one device; None: measured here by matrix products.
        utilisation: fraction of the peak that a step is assumed to reach; on two CPU cores a ViT-B reached 0.56 as an
            autoencoder (benchmarks/results/pretrain_step.md).
        read_px: side of the frames that clips are cropped from; by default the encoder's.
    """
    # Imported here because parsing imports all recipes, and torch's distributed package takes a second.
    from surgvl.train.optimizer import build_optimizer

    word = precision(run.precision)
    mixed = word.endswith("-mixed")
    width = {"bf16-true": 2, "64-true": 8}.get(word, 4)
    devices = run.devices * run.nodes
    part = run.batch // (devices * run.accumulate)
    step = dry_step(recipe, part, mixed)
    weights = sum(p.numel() for p in recipe.parameters())
    groups = build_optimizer(recipe.named_parameters(), recipe.lr_scales(), optim).param_groups
    trained = sum(p.numel() for group in groups for p in group["params"])
    moments = sum((2 if "betas" in group else 1) * p.numel() for group in groups for p in group["params"])
    shards = devices if run.strategy == "fsdp" else 1
    encoder = recipe.encoder
    # A clip is held twice: decoded, uint8, and augmented, float32.
    size_px = encoder.config.size_px
    clip = 3 * encoder.config.num_frames * ((read_px or size_px) ** 2 + 4 * size_px**2)
    # Autocast keeps another copy of the matrices in half precision.
    kept = step.kept * (width / 4) + (2 * trained if mixed else 0)
    return Estimate(
        name=recipe.name,
        batch=run.batch,
        devices=devices,
        tokens=encoder.num_tokens,
        visible=step.visible,
        num_parameters=weights,
        num_trained=trained,
        flops=step.flops * devices * run.accumulate,
        memory={
            "weights": width * weights / shards,
            "gradients": width * trained / shards,
            "optimizer": width * moments / shards,
            "activations": kept,
            "clips": float(clip * part),
        },
        num_clips=num_clips,
        rate=matmul_rate(DTYPES.get(word, torch.bfloat16)) if rate is None else rate,
        utilisation=utilisation,
    )
