"""Video vision transformer over tubelets; masked tokens are dropped before the patch embedding, so they cost nothing.

Joint space-time attention (Tong et al., arXiv 2203.12602) with positions from one of several fixed tables or from
rotary embedding (`models.position`). Its transformer blocks, pre-norm as in ViT (arXiv 2010.11929), are also those of
decoders and predictors.

Shapes: B clips, T frames, H = W pixels, t tubelet length, p patch side, N = T/t * (H/p)^2 tokens, K kept, D width,
d width of a head.
"""

from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from surgvl.core.errors import ConfigError
from surgvl.models.position import PositionEmbedding, Rotation, rotate
from surgvl.models.vit_config import QKVBias, ViTConfig

QKV_BIAS: tuple[str, ...] = get_args(QKVBias)


class VideoViT(nn.Module):
    """Video encoder.

    Args:
        config: its geometry; see `ViTConfig`.

    Attributes:
        dim: width D.
        grid: (T', H', W').
        num_tokens: N.
    """

    model_type = "surgvl_video_vit"
    architecture = "VideoViT"

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.config = config
        self.dim, self.grid, self.num_tokens = config.dim, config.grid, config.num_tokens
        self.embed = nn.Linear(config.patch_dim, config.dim)
        self.blocks = Transformer(
            config.dim,
            config.depth,
            config.heads,
            config.mlp_ratio,
            config.qkv_bias,
            config.eps,
            config.drop_path,
            config.checkpoint,
        )
        self.norm = nn.LayerNorm(config.dim, eps=config.eps) if config.final_norm else nn.Identity()
        self.position = PositionEmbedding(
            config.position, config.grid, config.dim, config.dim // config.heads, config.table_grid
        )
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1, 1), persistent=False)
        self.apply(init_weights)

    def normalise(self, video: Tensor) -> Tensor:
        """Values in 0..255, uint8 or float, to zero mean and unit deviation per channel.

        Takes and returns clips [B, 3, T, H, W] or flat tubelets [B, K, 3*t*p*p].
        """
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        if video.ndim == 3:
            mean, std = (each.view(3, 1).expand(3, self.config.patch_dim // 3).reshape(-1) for each in (mean, std))
        return torch.addcmul(-mean / std, video.to(mean.dtype), 1 / (255 * std))

    def patches(self, video: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> flat tubelets [B, N, 3*t*p*p], channels first as in a Conv3d kernel.

        Raises:
            ConfigError: the clip does not have the encoder's number of frames or size.
        """
        B, C, T, H, W = video.shape
        config = self.config
        want = (3, config.num_frames, config.size_px, config.size_px)
        if want != (C, T, H, W):
            raise ConfigError(f"a clip of shape {(C, T, H, W)} does not fit an encoder of {want}: resample the clip")
        t, p = config.tubelet, config.patch_px
        video = video.view(B, 3, T // t, t, H // p, p, W // p, p)
        return video.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(B, self.num_tokens, config.patch_dim)

    def forward(self, video: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode clips.

        Args:
            video: [B, 3, T, H, W], uint8 or float in 0..255.
            keep: int64 [B, K], indices of the tokens to encode, in this order; None: all.

        Returns:
            Tokens [B, K or N, D], layer-normed where `final_norm` is set.
        """
        # Select before normalising: dropped tokens need neither normalisation nor embedding.
        x = self.patches(video)
        if keep is not None:
            x = torch.gather(x, 1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        x = self.position.add(self.embed(self.normalise(x)), keep)
        out: Tensor = self.norm(self.blocks(x, self.position.rotation(keep)))
        return out


# ---- transformer blocks


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention [B, heads, N, d] x 3 -> [B, heads, N, d]: `scaled_dot_product_attention`, or two matmuls where faster.

    On a CPU in bfloat16 the fused kernel took about four times as long, forward and backward (torch 2.13, one thread,
    B = 48, N = 128), so short sequences use plain matmuls there; long ones keep the kernel for its memory.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= 512:
        weights = (q * q.shape[3] ** -0.5) @ k.transpose(-2, -1)
        out: Tensor = weights.softmax(-1) @ v
        return out
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head self-attention [B, N, D] -> [B, N, D].

    Args:
        dim: width D.
        heads: attention heads.
        qkv_bias: `full`, `no_key` (queries and values only, as in VideoMAE) or `none`.

    Raises:
        ConfigError: an unknown `qkv_bias`.
    """

    def __init__(self, dim: int, heads: int, qkv_bias: str = "full"):
        super().__init__()
        if qkv_bias not in QKV_BIAS:
            raise ConfigError(f"qkv_bias must be one of {', '.join(QKV_BIAS)}, got {qkv_bias!r}")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias == "full")
        self.split_bias = qkv_bias == "no_key"
        if self.split_bias:
            self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: Rotation | None = None) -> Tensor:
        """Attend over the N tokens; `rope` rotates queries and keys."""
        B, N, D = x.shape
        if self.split_bias:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
            mixed = F.linear(x, self.qkv.weight, bias)
        else:
            mixed = self.qkv(x)
        q, k, v = mixed.view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        x = attend(q, k, v)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(B, N, D))
        return out


class Block(nn.Module):
    """Pre-norm transformer block [B, N, D] -> [B, N, D].

    Args:
        dim: width D.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over D.
        qkv_bias: see `Attention`.
        eps: of the layer norms.
        drop_path: probability that a clip skips a residual branch in training (stochastic depth, arXiv 1603.09382).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: str = "full",
        eps: float = 1e-6,
        drop_path: float = 0.0,
    ):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.drop_path_rate = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def drop_path(self, residual: Tensor) -> Tensor:
        """Zero the residual [B, N, D] of some clips in training and rescale the others."""
        if not self.training or self.drop_path_rate == 0:
            return residual
        keep = 1 - self.drop_path_rate
        mask = torch.empty(residual.shape[0], 1, 1, device=residual.device, dtype=residual.dtype).bernoulli_(keep)
        return residual * mask / keep

    def forward(self, x: Tensor, rope: Rotation | None = None) -> Tensor:
        """Attention, then the MLP, each with a residual connection."""
        x = x + self.drop_path(self.attn(self.norm1(x), rope))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class Transformer(nn.ModuleList):
    """A stack of blocks [B, N, D] -> [B, N, D].

    Args:
        dim: width D.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: see `Block`.
        qkv_bias: see `Attention`.
        eps: of the layer norms.
        drop_path: rate of the last block; it rises linearly from 0.
        checkpoint: recompute activations inside blocks in the backward pass instead of keeping them.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: str = "full",
        eps: float = 1e-6,
        drop_path: float = 0.0,
        checkpoint: bool = False,
    ):
        rates = [drop_path * at / max(1, depth - 1) for at in range(depth)]
        super().__init__(Block(dim, heads, mlp_ratio, qkv_bias, eps, rate) for rate in rates)
        self.checkpoint = checkpoint

    def forward(self, x: Tensor, rope: Rotation | None = None) -> Tensor:
        """Run all blocks; `rope` as in `Attention`."""
        for block in self:
            if self.checkpoint and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, rope, use_reentrant=False)
            else:
                x = block(x, rope)
        return x


# ---- initial weights


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for linear layers, as in VideoMAE; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_weights_vjepa(model: nn.Module) -> None:
    """Initial weights of V-JEPA's released code: normal with a deviation of 0.02, and zero biases.

    The matrices that end the residual branches of block l = 1, 2, ... are divided by sqrt(2 l), as in BEiT (arXiv
    2106.08254). Norms and mask tokens keep theirs.

    Args:
        model: an encoder or predictor; changed in place.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for stack in [module for module in model.modules() if isinstance(module, Transformer)]:
        block: Any
        for number, block in enumerate(stack, 1):
            for last in (block.attn.proj, block.mlp[-1]):
                with torch.no_grad():
                    last.weight /= (2 * number) ** 0.5
