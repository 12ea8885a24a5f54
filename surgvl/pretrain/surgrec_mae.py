"""SurgRec-MAE (arXiv 2603.29966): VideoMAE on surgical video; a small decoder rebuilds the pixels of hidden tubes.

Base method: VideoMAE (arXiv 2203.12602), tube masking 0.9, encoder on visible tokens only, mean squared error on pixels
normalised for each tubelet and channel, on hidden tokens only. SurgRec states the mask, the encoder (ViT-B/16) and a
decoder of depth 4; its decoder width and schedule are not published: VideoMAE's 384 and 6 heads stand in. Its balanced
sampling belongs to the data, not to this file.
Shapes: B clips, N tokens, K kept, M hidden, D encoder width, d decoder width, P = t*p*p pixels of a tubelet.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.models.blocks import Stack, init_weights
from surgvl.models.position import sinusoid
from surgvl.models.video_vit import VideoViT
from surgvl.pretrain.base import Recipe
from surgvl.pretrain.masks import tube


def normalised_pixels(patches: Tensor, pixels: int) -> Tensor:
    """Targets of VideoMAE: flat tubelets [B, M, 3*P] -> the same, zero mean and unit deviation for each channel.

    Args:
        patches: flat tubelets, channels first.
        pixels: P, pixels of a tubelet and channel.
    """
    B, M, _ = patches.shape
    channels = patches.view(B, M, 3, pixels)
    mean = channels.mean(-1, keepdim=True)
    std = channels.var(-1, unbiased=True, keepdim=True).sqrt()
    out: Tensor = (channels - mean) / (std + 1e-6)
    return out.flatten(2)


class SurgRecMAE(Recipe):
    """Masked autoencoding of video.

    Args:
        encoder: the encoder to train.
        mask_ratio: hidden share of the patches.
        decoder_dim: width d.
        decoder_depth: blocks.
        decoder_heads: attention heads.
    """

    name = "surgrec_mae"

    def __init__(
        self,
        encoder: VideoViT,
        mask_ratio: float = 0.9,
        decoder_dim: int = 384,
        decoder_depth: int = 4,
        decoder_heads: int = 6,
    ):
        super().__init__(encoder)
        self.mask_ratio = mask_ratio
        self.down = nn.Linear(encoder.dim, decoder_dim, bias=False)
        self.mask_token = nn.Parameter(torch.randn(1, 1, decoder_dim) * 0.02)
        self.blocks = Stack(decoder_dim, decoder_depth, decoder_heads)
        self.norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        self.head = nn.Linear(decoder_dim, encoder.patch_dim)
        self.register_buffer("position", sinusoid(encoder.num_tokens, decoder_dim), persistent=False)
        for module in (self.down, self.blocks, self.head):
            module.apply(init_weights)

    def predict(self, video: Tensor, keep: Tensor, hide: Tensor) -> Tensor:
        """Predicted pixels of hidden tokens [B, M, 3*P] from the kept ones."""
        position = self.get_buffer("position")
        visible = self.down(self.encoder(video, keep)) + position[keep]
        x = torch.cat([visible, self.mask_token + position[hide]], 1)
        x = self.blocks(x)
        out: Tensor = self.head(self.norm(x[:, keep.shape[1] :]))
        return out

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `video` [B, 3, T, H, W]."""
        video = batch["video"]
        keep, hide = tube(video.shape[0], self.encoder.grid, self.mask_ratio, video.device)
        with torch.no_grad():
            patches = self.encoder.patches(self.encoder.normalise(video))
            hidden = torch.gather(patches, 1, hide[:, :, None].expand(-1, -1, patches.shape[2]))
            target = normalised_pixels(hidden, self.encoder.patch_dim // 3)
        return {"loss": F.mse_loss(self.predict(video, keep, hide), target)}
