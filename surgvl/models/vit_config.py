"""The shape of a video transformer: one dataclass behind `VideoViT`, `config.json` and `surgvl pretrain --encoder.*`.

It imports no torch, so the command line can read it. Bounds lie far above every published model and far below what a
machine can hold, so that a damaged or hostile file is refused before memory is allocated.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from surgvl.core.errors import ConfigError

Grid = tuple[int, int, int]
RGB = tuple[float, float, float]
Position = Literal["sinusoid", "sincos_3d", "vjepa", "rope"]
QKVBias = Literal["full", "no_key", "none"]

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
# Width, depth, heads and MLP ratio of the usual sizes (arXiv 2010.11929, 2106.04560; giant as in V-JEPA 2).
SIZES = {
    "Ti": (192, 12, 3, 4.0),
    "S": (384, 12, 6, 4.0),
    "B": (768, 12, 12, 4.0),
    "L": (1024, 24, 16, 4.0),
    "H": (1280, 32, 16, 4.0),
    "g": (1408, 40, 22, 48 / 11),
}
MAX_SIDE = 4096
COUNTS = dict.fromkeys(("size_px", "num_frames", "patch_px", "tubelet"), MAX_SIDE) | {
    "dim": 1 << 14,
    "depth": 256,
    "heads": 1024,
}
# Entries of the largest position table, tokens times width: 1 GiB in float32.
MAX_TABLE = 1 << 28


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Arguments of `VideoViT`; the defaults are ViT-B/16 on 16 frames of 224 px.

    Args:
        size_px: side of the square frames.
        num_frames: frames of a clip.
        patch_px: side of a patch; divides size_px.
        tubelet: frames of a tubelet; divides num_frames.
        dim: width; a multiple of twice the number of heads.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP as a multiple of dim.
        position: sinusoid (VideoMAE), sincos_3d (SurgVISTA), vjepa (V-JEPA) or rope (V-JEPA 2).
        qkv_bias: full, no_key (VideoMAE: queries and values only) or none.
        eps: epsilon of the layer norms.
        drop_path: stochastic depth of the last block; it rises linearly from 0.
        checkpoint: recompute activations in the backward pass instead of keeping them.
        mean: channel means of the input in [0, 1].
        std: channel standard deviations of the input in [0, 1].
        final_norm: layer-norm the output tokens; classifiers made from VideoMAE do not.
        table_grid: grid (T', H', W') that the weights' position table was made for, where it is to be interpolated as
            in the released code; none: compute the table for this grid.

    Raises:
        ConfigError: a number out of bounds, or one that does not divide another.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    size_px: int = 224
    num_frames: int = 16
    patch_px: int = 16
    tubelet: int = 2
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    position: Position = "sinusoid"
    qkv_bias: QKVBias = "full"
    eps: float = 1e-6
    drop_path: float = 0.0
    checkpoint: bool = False
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    final_norm: bool = True
    table_grid: Grid | None = None

    def __post_init__(self) -> None:
        """Refuse what no encoder can be; see `ViTConfig`."""
        for name, most in COUNTS.items():
            value = vars(self)[name]
            if not 1 <= value <= most:
                raise ConfigError(f"encoder.{name} must be from 1 to {most}, got {value}")
        for name, multiple, of in (
            ("size_px", self.patch_px, "patch_px"),
            ("num_frames", self.tubelet, "tubelet"),
            ("dim", 2 * self.heads, "2 * heads"),
        ):
            value = vars(self)[name]
            if value % multiple:
                raise ConfigError(f"encoder.{name} must be a multiple of {of} = {multiple}, got {value}")
        for name, most in (("mlp_ratio", 64), ("eps", 1)):
            value = vars(self)[name]
            if not 0 < value <= most:
                raise ConfigError(f"encoder.{name} must be above 0 and at most {most}, got {value}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"encoder.drop_path must be from 0 to below 1, got {self.drop_path}")
        if not all(abs(value) <= 1000 for value in self.mean):
            raise ConfigError(f"encoder.mean must be from -1000 to 1000 in each channel, got {self.mean}")
        if not all(0 < value <= 1000 for value in self.std):
            raise ConfigError(f"encoder.std must be above 0 and at most 1000 in each channel, got {self.std}")
        grids = [self.grid, self.table_grid or self.grid]
        if not all(1 <= side <= MAX_SIDE for side in grids[1]):
            raise ConfigError(f"encoder.table_grid must be from 1 to {MAX_SIDE} on each axis, got {self.table_grid}")
        if (size := max(map(math.prod, grids)) * self.dim) > MAX_TABLE:
            raise ConfigError(f"encoder: tokens times dim must be at most {MAX_TABLE:,}, got {size:,}")

    @property
    def grid(self) -> Grid:
        """Tokens along time, rows and columns (T', H', W')."""
        side = self.size_px // self.patch_px
        return self.num_frames // self.tubelet, side, side

    @property
    def num_tokens(self) -> int:
        """Tokens of a clip, N = T' * H' * W'."""
        return math.prod(self.grid)

    @property
    def patch_dim(self) -> int:
        """Values of a tubelet, 3 * tubelet * patch_px^2."""
        return 3 * self.tubelet * self.patch_px**2

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `config.json` holds them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
