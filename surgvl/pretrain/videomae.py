"""VideoMAE (arXiv 2203.12602): a small decoder reconstructs the pixels of masked tubes from the visible ones.

Tube masking 0.9, encoder on visible tokens only, mean squared error on masked tokens only, pixels normalised per
tubelet and channel. With `decoder_ratio` the decoder reconstructs a running cell of them, as in VideoMAE V2 (arXiv
2303.16727). With one frame and a tubelet of one this is the image MAE (arXiv 2111.06377).
Shapes: B clips, N tokens, K kept, M masked, D encoder width, d decoder width, P = t*p*p pixels of a tubelet & channel.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.models.position import PositionEmbedding
from surgvl.models.vit import Transformer, VideoViT, init_weights
from surgvl.pretrain.base import Recipe, gather
from surgvl.pretrain.masks import ORDERS, contains, one_of, running_cell, to_device, trim_to_shortest, tube


def normalised_pixels(patches: Tensor, pixels: int) -> Tensor:
    """Targets of VideoMAE: flat tubelets [B, M, 3*P] to zero mean and unit deviation per channel.

    Args:
        patches: flat tubelets, channels first.
        pixels: P, pixels of a tubelet and channel.
    """
    B, M, _ = patches.shape
    channels = patches.view(B, M, 3, pixels)
    mean = channels.mean(-1, keepdim=True)
    centred = channels - mean
    # Not `var`, which is several times slower on a CPU.
    std = (centred.square().sum(-1, keepdim=True) / (pixels - 1)).sqrt()
    out: Tensor = centred / (std + 1e-6)
    return out.flatten(2)


class Decoder(nn.Module):
    """Visible tokens [B, K, D] -> predictions for masked tokens [B, M, out_dim].

    They pass through a narrow transformer together with a learned mask token for each masked position.

    Args:
        encoder: supplies grid and width.
        out_dim: width of the predictions.
        dim: width of the decoder, d.
        depth: number of blocks.
        heads: attention heads.
        position: kind of position embedding; see `models.position`.
        down_bias: whether the projection D -> d has a bias.
        drop_path: see `Transformer`.
    """

    def __init__(
        self,
        encoder: VideoViT,
        out_dim: int,
        dim: int,
        depth: int,
        heads: int,
        position: str = "sinusoid",
        down_bias: bool = False,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.down = nn.Linear(encoder.dim, dim, bias=down_bias)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.blocks = Transformer(dim, depth, heads, drop_path=drop_path)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, out_dim)
        self.position = PositionEmbedding(position, encoder.grid, dim, dim // heads)
        self.apply(init_weights)

    def forward(self, tokens: Tensor, keep: Tensor, hide: Tensor) -> Tensor:
        """Predict the masked tokens; `keep` int64 [B, K], `hide` int64 [B, M]."""
        x = torch.cat([self.down(tokens), self.mask_token.expand(*hide.shape, -1)], 1)
        ids = torch.cat([keep, hide], 1)
        x = self.blocks(self.position.add(x, ids), self.position.rotation(ids))
        out: Tensor = self.head(self.norm(x[:, keep.shape[1] :]))
        return out


class VideoMAE(Recipe):
    """Masked autoencoding of video.

    Args:
        encoder: the encoder to train.
        mask_ratio: masked fraction of the patches.
        decoder_dim: width of the decoder.
        decoder_depth: blocks.
        decoder_heads: attention heads.
        decoder_ratio: fraction of the tokens that the decoder reconstructs, a multiple of 0.25; 1: all masked ones.
        cell_order: see `running_cell`. With circle the decoder gets the masked ones among these tokens, trimmed at
            random to as many in each clip; with raster, as released, it gets all, and the loss is over the masked ones.
    """

    name = "videomae"

    def __init__(
        self,
        encoder: VideoViT,
        mask_ratio: float = 0.9,
        decoder_dim: int = 384,
        decoder_depth: int = 4,
        decoder_heads: int = 6,
        decoder_ratio: float = 1.0,
        cell_order: str = "circle",
    ):
        super().__init__(encoder)
        one_of("cell_order", cell_order, ORDERS)
        self.mask_ratio, self.decoder_ratio, self.cell_order = mask_ratio, decoder_ratio, cell_order
        position = "sinusoid" if encoder.config.position == "rope" else encoder.config.position
        self.decoder = Decoder(encoder, encoder.config.patch_dim, decoder_dim, decoder_depth, decoder_heads, position)

    def undecayed(self) -> tuple[str, ...]:
        """The mask token, as in the released code."""
        return ("decoder.mask_token",)

    def masks(self, num_clips: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tokens for the encoder and for the decoder to reconstruct: int64 [B, K] and [B, M]."""
        grid = self.encoder.grid
        keep, hide = tube(num_clips, grid, self.mask_ratio)
        if self.decoder_ratio < 1:
            chosen = running_cell(num_clips, grid, self.decoder_ratio, self.cell_order)
            if self.cell_order == "circle":
                chosen &= contains(hide, self.encoder.num_tokens)
            hide = trim_to_shortest(chosen)
        return to_device(keep, device), to_device(hide, device)

    def target(self, video: Tensor, hide: Tensor) -> Tensor:
        """Normalised pixels of masked tokens [B, M, 3*P]."""
        with torch.no_grad():
            hidden = gather(self.encoder.patches(video), hide)
            return normalised_pixels(hidden / 255, self.encoder.config.patch_dim // 3)

    def predict(self, video: Tensor, keep: Tensor, hide: Tensor) -> Tensor:
        """Predicted pixels of masked tokens [B, M, 3*P]."""
        out: Tensor = self.decoder(self.encoder(video, keep), keep, hide)
        return out

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `video` [B, 3, T, H, W]."""
        video = batch["video"]
        keep, hide = self.masks(video.shape[0], video.device)
        prediction, target = self.predict(video, keep, hide), self.target(video, hide)
        if self.decoder_ratio == 1 or self.cell_order == "circle":
            return {"loss": F.mse_loss(prediction, target)}
        errors = (prediction - target).square().mean(-1)
        masked = ~contains(keep, self.encoder.num_tokens).gather(1, hide)
        return {"loss": (errors * masked).sum() / masked.sum()}
