"""Transformer blocks that encoders, decoders and predictors are stacked from.

Pre-norm blocks as in ViT (arXiv 2010.11929). Shapes: B clips, N tokens, D width, d width of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from surgvl.core.errors import ConfigError
from surgvl.models.position import Rotation, rotate

QKV_BIAS = ("full", "no_key", "none")


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
            raise ConfigError(
                f"qkv_bias={qkv_bias!r} is unknown; allowed are {', '.join(QKV_BIAS)}: choose one of them"
            )
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias == "full")
        self.partial = qkv_bias == "no_key"
        if self.partial:
            self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, by: Rotation | None = None) -> Tensor:
        """Attend over the N tokens; `by` turns queries and keys by their places."""
        B, N, D = x.shape
        if self.partial:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
            mixed = F.linear(x, self.qkv.weight, bias)
        else:
            mixed = self.qkv(x)
        q, k, v = mixed.view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if by is not None:
            q, k = rotate(q, by), rotate(k, by)
        x = attend(q, k, v)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(B, N, D))
        return out


class Block(nn.Module):
    """Pre-norm transformer block [B, N, D] -> [B, N, D].

    Args:
        dim: width D.
        heads: attention heads.
        mlp_ratio: hidden width of the perceptron over D.
        qkv_bias: see `Attention`.
        eps: of the layer norms.
        drop_path: share of clips whose residuals are left out in training (stochastic depth, arXiv 1603.09382).
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
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def _some(self, residual: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return residual
        stay = 1 - self.drop_path
        mask = torch.empty(residual.shape[0], 1, 1, device=residual.device, dtype=residual.dtype).bernoulli_(stay)
        return residual * mask / stay

    def forward(self, x: Tensor, by: Rotation | None = None) -> Tensor:
        """Attention, then the two-layer perceptron, each with a residual connection."""
        x = x + self._some(self.attn(self.norm1(x), by))
        out: Tensor = x + self._some(self.mlp(self.norm2(x)))
        return out


class Stack(nn.ModuleList):
    """Blocks one after another [B, N, D] -> [B, N, D].

    Args:
        dim: width D.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: see `Block`.
        qkv_bias: see `Attention`.
        eps: of the layer norms.
        drop_path: share of the last block; it rises linearly from 0.
        checkpoint: keep no activations inside blocks in training, and compute them again on the way back.
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

    def forward(self, x: Tensor, by: Rotation | None = None) -> Tensor:
        """Run all blocks; `by` as in `Attention`."""
        for block in self:
            if self.checkpoint and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, by, use_reentrant=False)
            else:
                x = block(x, by)
        return x


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero bias, as VideoMAE initialises them; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
