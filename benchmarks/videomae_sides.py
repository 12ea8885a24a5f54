"""VideoMAE of surgvl and of transformers with the same geometry and input, for the benchmarks of steps.

Imports only torch, transformers and the parts of surgvl that need no more than these.
Shapes: B clips, T frames, H = W pixels, D embedding width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import DeviceType
from torch.utils.flop_counter import FlopCounterMode

from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import IMAGENET_MEAN, IMAGENET_STD, SIZES, ViTConfig
from surgvl.pretrain.masks import tube
from surgvl.pretrain.surgrec_mae import SurgRecMAE
from surgvl.train.objective import Objective

MASK_RATIO = 0.9


@dataclass(frozen=True)
class Shape:
    """Geometry of both sides; names as in `VideoViT` and `VideoMAE`."""

    dim: int
    depth: int
    heads: int
    mlp_ratio: float
    size_px: int = 224
    num_frames: int = 16
    patch_px: int = 16
    tubelet: int = 2
    decoder_dim: int = 384
    decoder_depth: int = 4
    decoder_heads: int = 6

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tubelets in time, rows and columns."""
        return self.num_frames // self.tubelet, self.size_px // self.patch_px, self.size_px // self.patch_px

    def clips(self, num: int, device: str) -> Tensor:
        """Clips of random bytes [B, 3, T, H, W]."""
        size = (num, 3, self.num_frames, self.size_px, self.size_px)
        return torch.randint(0, 256, size, dtype=torch.uint8, device=device)


SHAPES = {size: Shape(*numbers) for size, numbers in SIZES.items()}
SHAPES["tiny"] = Shape(48, 1, 3, 4.0, 32, 4, 8, 2, 32, 1, 2)


@dataclass(frozen=True)
class Side:
    """A model, its function of clips uint8 [B, 3, T, H, W], and the modules to compile."""

    model: nn.Module
    run: Callable[[Tensor], Tensor]
    parts: list[nn.Module]


def encoder(shape: Shape) -> VideoViT:
    return VideoViT(
        ViTConfig(
            size_px=shape.size_px,
            num_frames=shape.num_frames,
            patch_px=shape.patch_px,
            tubelet=shape.tubelet,
            dim=shape.dim,
            depth=shape.depth,
            heads=shape.heads,
            mlp_ratio=shape.mlp_ratio,
            qkv_bias="no_key",
        )
    )


def trained(model: Objective) -> Side:
    """One of our objectives, compiled as with `--run.compile`."""
    return Side(model, lambda video: model({"video": video})["loss"], model.modules_to_compile())


def our_trainer(shape: Shape, device: str, decoder_ratio: float = 1.0) -> Side:
    decoder = (shape.decoder_dim, shape.decoder_depth, shape.decoder_heads)
    with torch.device(device):
        return trained(SurgRecMAE(encoder(shape), MASK_RATIO, *decoder, decoder_ratio))


def our_embedder(shape: Shape, device: str) -> Side:
    """The encoder in bfloat16, its tokens averaged."""
    with torch.device(device):
        model = encoder(shape).bfloat16().eval()
    return Side(model, lambda video: model(video).mean(1), [model])


def peer_config(shape: Shape) -> Any:
    from transformers import VideoMAEConfig

    return VideoMAEConfig(
        image_size=shape.size_px,
        patch_size=shape.patch_px,
        num_frames=shape.num_frames,
        tubelet_size=shape.tubelet,
        hidden_size=shape.dim,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        intermediate_size=int(shape.dim * shape.mlp_ratio),
        use_mean_pooling=False,  # as in the released weights: tokens leave the encoder through a norm, as ours do
        decoder_hidden_size=shape.decoder_dim,
        decoder_num_hidden_layers=shape.decoder_depth,
        decoder_num_attention_heads=shape.decoder_heads,
        decoder_intermediate_size=4 * shape.decoder_dim,
    )


def normaliser(device: str) -> Callable[[Tensor], Tensor]:
    """Converts clips to the peer's input, float32 [B, T, 3, H, W], which its image processor would do on the host."""
    mean, std = (torch.tensor(x, device=device).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return lambda video: (video.transpose(1, 2).float() / 255 - mean) / std


def peer_trainer(shape: Shape, device: str) -> Side:
    from transformers import VideoMAEForPreTraining

    with torch.device(device):
        model = VideoMAEForPreTraining(peer_config(shape))
    pixels = normaliser(device)

    def loss(video: Tensor) -> Tensor:
        hide = tube(len(video), shape.grid, MASK_RATIO, video.device)[1]
        mask = torch.zeros(len(video), math.prod(shape.grid), dtype=torch.bool, device=video.device)
        out: Tensor = model(pixels(video), bool_masked_pos=mask.scatter_(1, hide, True)).loss
        return out

    return Side(model, loss, [model])


def peer_embedder(shape: Shape, device: str) -> Side:
    """Transformers' encoder in bfloat16, its tokens averaged."""
    from transformers import VideoMAEModel

    with torch.device(device):
        model = VideoMAEModel(peer_config(shape)).bfloat16().eval()
    pixels = normaliser(device)
    return Side(model, lambda video: model(pixels(video).bfloat16()).last_hidden_state.mean(1), [model])


def adamw(side: Side) -> torch.optim.Optimizer:
    parameters = [p for p in side.model.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), fused=True)


def train_step(side: Side, optimizer: torch.optim.Optimizer, video: Tensor, mixed: bool) -> None:
    """Forward, backward, gradient clipping, optimizer; products in bfloat16 if `mixed`."""
    with torch.autocast(video.device.type, torch.bfloat16, enabled=mixed):
        value = side.run(video)
    torch.autograd.backward(value)
    torch.nn.utils.clip_grad_norm_(side.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    if isinstance(side.model, Objective):
        side.model.after_step(0.5)


def flops(side: Side, video: Tensor, train: bool) -> float:
    """FLOPs of the matrix products of one clip, two per multiply-add, including the backward pass if `train`.

    Attention is counted by its products, without what a fused kernel recomputes in the backward pass.
    """
    with torch.set_grad_enabled(train), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        value = side.run(video[:1])
        if train:
            torch.autograd.backward(value)
    side.model.zero_grad()
    return float(counter.get_total_flops())


def terms(profile: torch.profiler.profile, device: str) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Self time in seconds of operators and, on a GPU, of kernels, in descending order.

    A kernel's time is also that of the operator that launches it, so only one of the two lists may be summed.
    """
    rows = [each for each in profile.key_averages() if not each.is_user_annotation]
    host = [each for each in rows if each.device_type == DeviceType.CPU]
    own = {each.key: each.self_cpu_time_total if device == "cpu" else each.self_device_time_total for each in host}
    kernels = {each.key: each.self_device_time_total for each in rows if each.device_type != DeviceType.CPU}

    def sort(found: dict[str, float]) -> list[tuple[str, float]]:
        return [(name, us / 1e6) for name, us in sorted(found.items(), key=lambda item: -item[1]) if us > 0]

    return sort(own), sort(kernels)
