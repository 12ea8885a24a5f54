"""Video vision transformer over tubelets; hidden tokens are dropped before the patch embedding, so they cost nothing.

Joint space-time attention (Tong et al., arXiv 2203.12602) with the place of a token given by one of several tables or
by rotation (`models.position`).

Shapes: B clips, T frames, H = W pixels, t tubelet length, p patch side, N = T/t * (H/p)^2 tokens, K kept, D width.
"""

import math

import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.models.blocks import Stack, init_weights
from surgvl.models.position import Grid, Places

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        position: sinusoid (VideoMAE), sincos_3d (SurgVISTA), vjepa (V-JEPA) or rope (V-JEPA 2); see `models.position`.
        qkv_bias: full, no_key (VideoMAE: queries and values only) or none.
        eps: of the layer norms.
        drop_path: largest share of clips that a block leaves out in training, rising linearly over the blocks.
        checkpoint: keep no activations inside blocks, and compute them again on the way back.
        mean: channel means of the input in [0, 1].
        std: channel deviations of the input in [0, 1].
        final_norm: layer-norm the tokens at the end; classifiers made from VideoMAE have none.
        table_grid: grid (T', H', W') of weights that were made for another one, whose released code interpolates its
            table (see `models.position.stretch`); None to compute the table anew.

    Raises:
        ConfigError: a size does not divide another; the message names both.
    """

    model_type = "surgvl_video_vit"
    architecture = "VideoViT"

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
        position: str = "sinusoid",
        qkv_bias: str = "full",
        eps: float = 1e-6,
        drop_path: float = 0.0,
        checkpoint: bool = False,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        final_norm: bool = True,
        table_grid: Grid | None = None,
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
            "position": position,
            "qkv_bias": qkv_bias,
            "eps": eps,
            "drop_path": drop_path,
            "checkpoint": checkpoint,
            "mean": list(mean),
            "std": list(std),
            "final_norm": final_norm,
            "table_grid": None if table_grid is None else list(table_grid),
        }
        self.size_px, self.num_frames, self.patch_px, self.tubelet = size_px, num_frames, patch_px, tubelet
        self.dim, self.heads, self.eps, self.position_kind = dim, heads, eps, position
        self.grid = (num_frames // tubelet, size_px // patch_px, size_px // patch_px)
        self.num_tokens = math.prod(self.grid)
        self.patch_dim = 3 * tubelet * patch_px**2
        self.embed = nn.Linear(self.patch_dim, dim)
        self.blocks = Stack(dim, depth, heads, mlp_ratio, qkv_bias, eps, drop_path, checkpoint)
        self.norm = nn.LayerNorm(dim, eps=eps) if final_norm else nn.Identity()
        made_for = None if table_grid is None else (table_grid[0], table_grid[1], table_grid[2])
        self.places = Places(position, self.grid, dim, dim // heads, made_for)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1, 1), persistent=False)
        self.apply(init_weights)

    def normalise(self, video: Tensor) -> Tensor:
        """Values 0..255, uint8 or float -> float, zero mean and unit deviation by channel.

        Clips [B, 3, T, H, W] or flat tubelets [B, K, 3*t*p*p]; the same shape comes back.
        """
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        if video.ndim == 3:
            mean, std = (each.view(3, 1).expand(3, self.patch_dim // 3).reshape(-1) for each in (mean, std))
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
            Tokens [B, K or N, D], layer-normed unless the encoder was made without.
        """
        # Cut and chosen first: what is not kept need not be normalised.
        x = self.patches(video)
        if keep is not None:
            x = torch.gather(x, 1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        x = self.places.add(self.embed(self.normalise(x)), keep)
        out: Tensor = self.norm(self.blocks(x, self.places.rotation(keep)))
        return out


# Width, depth, heads and perceptron ratio of the usual sizes (arXiv 2010.11929, 2106.04560; giant as in V-JEPA 2).
SIZES = {
    "Ti": (192, 12, 3, 4.0),
    "S": (384, 12, 6, 4.0),
    "B": (768, 12, 12, 4.0),
    "L": (1024, 24, 16, 4.0),
    "H": (1280, 32, 16, 4.0),
    "g": (1408, 40, 22, 48 / 11),
}
