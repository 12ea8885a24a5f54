"""Projector: encoder tokens to the language model's embeddings, one time group after another.

- `grid`: average pooling over a grid in time and space, then the two-layer GELU MLP of LLaVA-1.5 (Liu et al., arXiv
  2310.03744);
- `mlp`: the same MLP on every encoder token;
- `perceiver`: learned queries attend to the tokens of each time group (Perceiver Resampler of Flamingo, Alayrac et al.,
  arXiv 2204.14198), then the MLP.

Shapes: B clips, (T', H', W') the encoder's grid, t time groups, n visual tokens a group, V = t*n, D encoder width, M
language width, G = T'*H'*W' / t tokens a group.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import ConfigError

KINDS = ("grid", "mlp", "perceiver")


class PerceiverLayer(nn.Module):
    """Queries [B, n, D] attend to tokens [B, G, D] and to themselves, then an MLP; both with a residual.

    Args:
        dim: width D.
        heads: attention heads; divides `dim`.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_kv = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.q, self.kv, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """One layer: [B, n, D]."""
        B, n, D = queries.shape
        normed = self.norm_q(queries)
        context = torch.cat([self.norm_kv(tokens), normed], 1)
        k, v = self.kv(context).view(B, -1, 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q = self.q(normed).view(B, n, self.heads, D // self.heads).transpose(1, 2)
        x = queries + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, n, D))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class Projector(nn.Module):
    """Tokens [B, T'*H'*W', D] -> visual tokens [B, V, M].

    Args:
        dim: encoder width D.
        width: language width M.
        encoder_grid: (T', H', W') of the encoder.
        kind: grid, mlp or perceiver.
        grid: (t, h, w) of the visual tokens for `grid`, at most the encoder's; `perceiver` uses t alone.
        num_queries: n, for `perceiver`.
        depth: layers, for `perceiver`.

    Raises:
        ConfigError: an unknown kind, or a grid finer than the encoder's.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        encoder_grid: tuple[int, int, int],
        kind: str = "grid",
        grid: tuple[int, int, int] = (2, 4, 4),
        num_queries: int = 16,
        depth: int = 2,
    ):
        super().__init__()
        grid = (grid[0], grid[1], grid[2])
        if kind not in KINDS:
            raise ConfigError(f"projector must be one of {', '.join(KINDS)}, got {kind!r}")
        if any(a > b for a, b in zip(grid, encoder_grid, strict=True)):
            raise ConfigError(f"the visual grid must be at most the encoder's {encoder_grid}, got {grid}")
        if kind == "perceiver" and encoder_grid[0] % grid[0]:
            raise ConfigError(f"time groups must divide the encoder's {encoder_grid[0]} time slots, got {grid[0]}")
        self.config: dict[str, Any] = {"kind": kind, "grid": list(grid), "num_queries": num_queries, "depth": depth}
        self.kind, self.encoder_grid = kind, encoder_grid
        self.grid = encoder_grid if kind == "mlp" else grid
        self.num_groups = self.grid[0]
        self.group_size = num_queries if kind == "perceiver" else self.grid[1] * self.grid[2]
        self.num_tokens = self.num_groups * self.group_size
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        if kind == "perceiver":
            self.queries = nn.Parameter(torch.randn(num_queries, dim) * 0.02)
            self.readers = nn.ModuleList(PerceiverLayer(dim, max(1, dim // 64)) for _ in range(depth))

    @property
    def num_stored(self) -> int:
        """Tokens per clip that `pool` returns."""
        T, H, W = self.encoder_grid
        return self.num_tokens if self.kind == "grid" else T * H * W

    def pool(self, tokens: Tensor) -> Tensor:
        """The parameter-free part, whose result can be cached: [B, T'*H'*W', D] -> [B, stored, D]."""
        if self.kind != "grid":
            return tokens
        B, _, D = tokens.shape
        volume = tokens.transpose(1, 2).reshape(B, D, *self.encoder_grid)
        return F.adaptive_avg_pool3d(volume, self.grid).flatten(2).transpose(1, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """Project pooled tokens [B, stored, D] -> [B, V, M]."""
        B, _, D = pooled.shape
        x = pooled
        if self.kind == "perceiver":
            groups = pooled.reshape(B * self.num_groups, -1, D)
            x = self.queries.to(pooled.dtype).expand(len(groups), -1, -1)
            for reader in self.readers:
                x = reader(x, groups)
            x = x.reshape(B, self.num_tokens, D)
        out: Tensor = self.mlp(self.norm(x))
        return out
