"""Position embeddings in space and time: fixed tables added to tokens, or rotary embedding of queries and keys.

- `sinusoid`: the one-dimensional sinusoid of Vaswani et al. (2017) over the flat index of a token, as in VideoMAE
  (arXiv 2203.12602);
- `sincos_3d`: a quarter of the channels for time, the rest for space, as in SurgVISTA (arXiv 2506.02692);
- `vjepa`: a third each for time, row and column, truncated to the width, as in V-JEPA (arXiv 2404.08471);
- `rope`: a third of each head rotated by time, row and column, as in V-JEPA 2 (arXiv 2506.09985).

None is learned and none is part of the state dict, so weights fit any clip length and resolution.
Shapes: grid (T', H', W'), N = T'*H'*W' tokens in the order time, row, column, D width, d width of a head.
"""

import math
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.models.vit_config import Grid, Position

Rotation = tuple[Tensor, Tensor]

POSITIONS: tuple[str, ...] = get_args(Position)


def sinusoid(num_positions: int, dim: int) -> Tensor:
    """Fixed table, float32 [num_positions, dim]: sine in even columns, cosine in odd ones (Vaswani et al., 2017)."""
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    pair = torch.arange(dim, dtype=torch.float64)[None, :].div(2, rounding_mode="floor")
    angle = position / torch.pow(10000.0, 2 * pair / dim)
    table = torch.where(torch.arange(dim)[None, :] % 2 == 0, angle.sin(), angle.cos())
    return table.float()


def coordinates(ids: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Time slot, row and column of token indices, each of the shape of `ids`."""
    plane = grid[1] * grid[2]
    rest = ids % plane
    return ids // plane, rest // grid[2], rest % grid[2]


def sincos(position: Tensor, dim: int) -> Tensor:
    """Sines, then cosines of a coordinate, float64 [N, dim]; `dim` is even."""
    rate = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angle = position.double()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


def sincos_3d(grid: Grid, dim: int) -> Tensor:
    """SurgVISTA's table, float32 [N, D]: a quarter of the channels for time, then columns and rows.

    Raises:
        ConfigError: the width is not a multiple of 16.
    """
    if dim % 16:
        raise ConfigError(f"the sincos_3d position table needs a dim that is a multiple of 16, got {dim}")
    time, row, column = coordinates(torch.arange(math.prod(grid)), grid)
    space = dim * 3 // 8
    # Columns come before rows in the table that the released weights were trained with (as in MAE, arXiv 2111.06377).
    return torch.cat([sincos(time, dim // 4), sincos(column, space), sincos(row, space)], 1).float()


def vjepa_table(grid: Grid, dim: int) -> Tensor:
    """V-JEPA's table in equal parts, float32 [N, D]: time, row, column, truncated to the width."""
    part = math.ceil(dim / 6) * 2
    parts = coordinates(torch.arange(math.prod(grid)), grid)
    return torch.cat([sincos(each, part) for each in parts], 1)[:, :dim].float()


def interpolate(kind: str, made_for: Grid, grid: Grid, dim: int) -> Tensor:
    """A table made for one grid, interpolated to another as in the released code, float32 [N, D].

    V-JEPA interpolates the whole table trilinearly; SurgVISTA interpolates space bicubically and recomputes time.

    Raises:
        ConfigError: the kind is neither `vjepa` nor `sincos_3d`; the others are recomputed for any grid.
    """
    if kind == "vjepa":
        values = vjepa_table(made_for, dim).T.reshape(1, dim, *made_for)
        values = F.interpolate(values, size=grid, mode="trilinear", align_corners=False)
        return values[0].flatten(1).T.contiguous()
    if kind == "sincos_3d":
        slots = sincos_3d((grid[0], *made_for[1:]), dim).reshape(grid[0], -1, dim)
        planes = slots.transpose(1, 2).reshape(grid[0], dim, *made_for[1:])
        planes = F.interpolate(planes, size=grid[1:], mode="bicubic", align_corners=False)
        return planes.flatten(2).transpose(1, 2).reshape(-1, dim)
    raise ConfigError(f"encoder.table_grid applies to the positions vjepa and sincos_3d, not to {kind!r}: leave it out")


def table(kind: str, grid: Grid, dim: int, made_for: Grid | None = None) -> Tensor:
    """The table of a kind, float32 [N, D]; zeros for `rope`, which adds none.

    Args:
        kind: one of `POSITIONS`.
        grid: (T', H', W').
        dim: width D.
        made_for: compute the table for this grid and interpolate it to `grid`; None: compute it for `grid`.

    Raises:
        ConfigError: an unknown kind, or one that is never interpolated.
    """
    if made_for is not None and made_for != grid:
        return interpolate(kind, made_for, grid, dim)
    if kind == "sinusoid":
        return sinusoid(math.prod(grid), dim)
    if kind == "sincos_3d":
        return sincos_3d(grid, dim)
    if kind == "vjepa":
        return vjepa_table(grid, dim)
    if kind == "rope":
        return torch.zeros(math.prod(grid), dim)
    raise ConfigError(f"position must be one of {', '.join(POSITIONS)}, got {kind!r}")


def rotation(grid: Grid, head_dim: int) -> Rotation:
    """Cosine and sine of every token, float32 [N, d] each, for `rotate`.

    Time, row and column rotate a third of the channels each; the remainder is left unchanged. The released V-JEPA 2
    concatenates the frequencies although `rotate` pairs neighbouring channels; kept, because its weights were trained
    that way.
    """
    part = 2 * (head_dim // 3 // 2)
    rate = 10000.0 ** (-torch.arange(part // 2, dtype=torch.float64) / max(1, part // 2))
    angles = [(each.double()[:, None] * rate).repeat(1, 2) for each in coordinates(torch.arange(math.prod(grid)), grid)]
    angle = torch.cat([*angles, torch.zeros(math.prod(grid), head_dim - 3 * part, dtype=torch.float64)], 1)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, rope: Rotation) -> Tensor:
    """Rotate neighbouring channel pairs of [B, heads, K, d]; cosine and sine broadcast to it."""
    cos, sin = rope
    even, odd = x[..., 0::2], x[..., 1::2]
    rotated = torch.stack((-odd, even), -1).flatten(-2)
    return x * cos.to(x.dtype) + rotated * sin.to(x.dtype)


class PositionEmbedding(nn.Module):
    """Positions of a grid's tokens for one transformer: the table added to tokens, or the rotation of queries and keys.

    Args:
        kind: one of `POSITIONS`.
        grid: (T', H', W').
        dim: width D.
        head_dim: width d of a head.
        made_for: the grid of the weights, where their table is to be interpolated; see `interpolate`.
    """

    def __init__(self, kind: str, grid: Grid, dim: int, head_dim: int, made_for: Grid | None = None):
        super().__init__()
        self.is_rotary = kind == "rope"
        place = torch.get_default_device()
        # On the meta device, `arange` imports torch's compiler, which takes seconds.
        with torch.device("cpu" if place.type == "meta" else place):
            added = torch.zeros(0) if self.is_rotary and made_for in (None, grid) else table(kind, grid, dim, made_for)
            cos, sin = rotation(grid, head_dim) if self.is_rotary else (torch.zeros(0), torch.zeros(0))
        for name, values in (("added", added), ("cos", cos), ("sin", sin)):
            self.register_buffer(name, values, persistent=False)

    def add(self, x: Tensor, ids: Tensor | None = None) -> Tensor:
        """Tokens [B, K, D] plus their positions; `ids` int64 [B, K], None: all in order."""
        if self.is_rotary:
            return x
        added = self.get_buffer("added")
        return x + (added[None] if ids is None else added[ids]).to(x.dtype)

    def rotation(self, ids: Tensor | None = None) -> Rotation | None:
        """Cosine and sine for these tokens, [B or 1, 1, K, d] each; None for tables."""
        if not self.is_rotary:
            return None
        cos, sin = self.get_buffer("cos"), self.get_buffer("sin")
        if ids is None:
            return cos[None, None], sin[None, None]
        return cos[ids][:, None], sin[ids][:, None]
