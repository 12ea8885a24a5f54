"""Video vision transformer over tubelets; masked tokens are dropped before the patch embedding, so they cost nothing.

Joint space-time attention (Tong et al., arXiv 2203.12602) with positions from one of several fixed tables or from
rotary embedding (`models.position`).

Shapes: B clips, T frames, H = W pixels, t tubelet length, p patch side, N = T/t * (H/p)^2 tokens, K kept, D width.
"""

import torch
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.models.blocks import Transformer, init_weights
from surgvl.models.position import PositionEmbedding
from surgvl.models.vit_config import ViTConfig


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
