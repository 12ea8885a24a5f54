"""Video vision transformer over tubelets; hidden tokens are dropped before the patch embedding, so they cost nothing.

Joint space-time attention with the fixed sinusoid table of VideoMAE (Tong et al., arXiv 2203.12602): positions are
numbered in the order time, row, column and the one-dimensional sinusoid of Vaswani et al. is laid over that number.

Shapes: B clips, T frames, H = W pixels, t tubelet length, p patch side, N = T/t * (H/p)^2 tokens, K kept, D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention [B, heads, N, d] x 3 -> [B, heads, N, d]: `scaled_dot_product_attention`, or its formula where faster.

    On a CPU in bfloat16 the fused kernel, forward and backward, took about four times as long as plain products (torch
    2.13, one thread, B = 48, N = 128), so short sequences are multiplied out there; long ones keep the kernel for its
    memory.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= 512:
        weights = (q * q.shape[3] ** -0.5) @ k.transpose(-2, -1)
        out: Tensor = weights.softmax(-1) @ v
        return out
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head self-attention [B, N, D] -> [B, N, D] through `scaled_dot_product_attention`."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the N tokens."""
        B, N, D = x.shape
        q, k, v = self.qkv(x).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = attend(q, k, v)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(B, N, D))
        return out


class Block(nn.Module):
    """Pre-norm transformer block [B, N, D] -> [B, N, D]."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4.0, eps: float = 1e-6):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the two-layer perceptron, each with a residual connection."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero bias, as VideoMAE initialises them; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def sinusoid(num_positions: int, dim: int) -> Tensor:
    """Fixed table, float32 [num_positions, dim]: sine in even columns, cosine in odd ones (Vaswani et al., 2017)."""
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    pair = torch.arange(dim, dtype=torch.float64)[None, :].div(2, rounding_mode="floor")
    angle = position / torch.pow(10000.0, 2 * pair / dim)
    table = torch.where(torch.arange(dim)[None, :] % 2 == 0, angle.sin(), angle.cos())
    return table.float()


class VideoViT(nn.Module):
    """Encoder of clips.

    Args:
        size_px: side of the square frames.
        num_frames: frames of a clip.
        patch_px: side of a patch; divides `size_px`.
        tubelet: frames of a tubelet; divides `num_frames`.
        dim: width D; even and divisible by `heads`.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the perceptron over D.
        mean: channel means of the input in [0, 1].
        std: channel deviations of the input in [0, 1].

    Raises:
        ConfigError: a size does not divide another; the message names both.
    """

    model_type = "surgvl_video_vit"

    def __init__(
        self,
        size_px: int = 224,
        num_frames: int = 16,
        patch_px: int = 16,
        tubelet: int = 2,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ):
        super().__init__()
        for what, whole, part in (
            ("size_px", size_px, patch_px),
            ("num_frames", num_frames, tubelet),
            ("dim", dim, 2 * heads),
        ):
            if whole % part:
                raise ConfigError(f"{what}={whole} is not a multiple of {part}: change one of them")
        self.config: dict[str, object] = {
            "size_px": size_px,
            "num_frames": num_frames,
            "patch_px": patch_px,
            "tubelet": tubelet,
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "mlp_ratio": mlp_ratio,
            "mean": list(mean),
            "std": list(std),
        }
        self.size_px, self.num_frames, self.patch_px, self.tubelet, self.dim = (
            size_px,
            num_frames,
            patch_px,
            tubelet,
            dim,
        )
        self.grid = (num_frames // tubelet, size_px // patch_px, size_px // patch_px)
        self.num_tokens = math.prod(self.grid)
        self.patch_dim = 3 * tubelet * patch_px**2
        self.embed = nn.Linear(self.patch_dim, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.register_buffer("position", sinusoid(self.num_tokens, dim), persistent=False)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1, 1), persistent=False)
        self.apply(init_weights)

    def normalise(self, video: Tensor) -> Tensor:
        """Values 0..255 [B, 3, T, H, W], uint8 or float -> float, zero mean and unit deviation by channel."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return torch.addcmul(-mean / std, video.to(mean.dtype), 1 / (255 * std))

    def patches(self, video: Tensor) -> Tensor:
        """Cut [B, 3, T, H, W] into flat tubelets [B, N, 3*t*p*p], channels first as in a Conv3d kernel.

        Raises:
            ConfigError: the clip does not have the encoder's number of frames or size.
        """
        B, C, T, H, W = video.shape
        want = (3, self.num_frames, self.size_px, self.size_px)
        if want != (C, T, H, W):
            raise ConfigError(f"a clip of shape {(C, T, H, W)} does not fit an encoder of {want}: resample the clip")
        t, p = self.tubelet, self.patch_px
        video = video.view(B, 3, T // t, t, H // p, p, W // p, p)
        return video.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(B, self.num_tokens, self.patch_dim)

    def forward(self, video: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode clips.

        Args:
            video: [B, 3, T, H, W], uint8 or float in 0..255.
            keep: int64 [B, K], token numbers to encode in this order; None for all.

        Returns:
            Tokens [B, K or N, D], layer-normed.
        """
        x = self.patches(self.normalise(video))
        position = self.get_buffer("position")[None]
        if keep is not None:
            x = torch.gather(x, 1, keep[:, :, None].expand(-1, -1, x.shape[2]))
            position = position[0][keep]
        x = self.embed(x) + position.to(x.dtype)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out
