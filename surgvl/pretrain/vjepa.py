"""V-JEPA (arXiv 2404.08471) and V-JEPA 2 (arXiv 2506.09985): predict features of masked blocks from the context.

The encoder sees the context alone; a predictor regresses the features of an EMA of the encoder, which sees the whole
clip, at the masked positions. Targets are layer-normed; the loss is the mean absolute error. Two masks per clip, many
small blocks and two large ones, are predicted in the same step. The EMA is exported, as the released code evaluates it.
By default three things differ from the released code, each by an argument: masks are trimmed at random, blocks are as
often tall as wide, and weights are initialised as in VideoMAE. With clips of one frame this is I-JEPA (arXiv
2301.08243) with V-JEPA's masks.
Shapes: B clips, N tokens, K kept, M masked, D width.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from surgvl.models.predictor import Predictor
from surgvl.models.vit import VideoViT, init_weights_vjepa
from surgvl.pretrain.base import Recipe, gather
from surgvl.pretrain.masks import ASPECTS, TRIMS, multi_block, one_of
from surgvl.train.collapse import effective_rank, feature_std, mean_cosine
from surgvl.train.ema import EMA

INITS = ("xavier", "vjepa")


def latent_loss(prediction: Tensor, target: Tensor, power: float = 1.0) -> Tensor:
    """Mean of |prediction - target|^power / power over [B, M, D]; V-JEPA uses a power of 1."""
    return (prediction - target).abs().pow(power).mean() / power


class VJEPA(Recipe):
    """Latent prediction of masked blocks.

    Args:
        encoder: the encoder to train.
        short_blocks: number of small blocks per clip.
        short_scale: area of a small block relative to the frame.
        long_blocks: number of large blocks per clip.
        long_scale: area of a large block relative to the frame.
        aspect_min: smallest height / width of a block.
        aspect_max: largest height / width of a block.
        trim: random, or prefix as released; see `masks.multi_block`.
        aspect_draw: log_uniform, or uniform as released; see `masks.multi_block`.
        shared_mask_token: one learned mask token for both kinds of mask, as V-JEPA 2 has; V-JEPA 1 has one for each.
        init: xavier, as in VideoMAE, which leaves the encoder as it is given; or vjepa as released, which draws its
            weights anew: see `init_weights_vjepa`.
        predictor_dim: width of the predictor.
        predictor_depth: its blocks.
        predictor_heads: its attention heads.
        momentum: of the EMA at the start; V-JEPA 2 keeps 0.99925.
        final_momentum: of the EMA at the end of the schedules; V-JEPA 1 goes from 0.998 towards 1.
    """

    name = "vjepa"

    def __init__(
        self,
        encoder: VideoViT,
        short_blocks: int = 8,
        short_scale: float = 0.15,
        long_blocks: int = 2,
        long_scale: float = 0.7,
        aspect_min: float = 0.75,
        aspect_max: float = 1.5,
        trim: str = "random",
        aspect_draw: str = "log_uniform",
        shared_mask_token: bool = False,
        init: str = "xavier",
        predictor_dim: int = 384,
        predictor_depth: int = 12,
        predictor_heads: int = 12,
        momentum: float = 0.99925,
        final_momentum: float = 0.99925,
    ):
        super().__init__(encoder)
        one_of("trim", trim, TRIMS)
        one_of("aspect_draw", aspect_draw, ASPECTS)
        one_of("init", init, INITS)
        self.blocks = [(short_blocks, short_scale), (long_blocks, long_scale)]
        self.aspect, self.trim, self.aspect_draw = (aspect_min, aspect_max), trim, aspect_draw
        self.momentum, self.final_momentum = momentum, final_momentum
        self.shared_mask_token = shared_mask_token
        self.predictor = Predictor(
            encoder.dim,
            encoder.grid,
            encoder.config.position,
            predictor_dim,
            predictor_depth,
            predictor_heads,
            num_mask_tokens=1 if shared_mask_token else len(self.blocks),
        )
        if init == "vjepa":
            init_weights_vjepa(encoder)
            init_weights_vjepa(self.predictor)
        self.target_encoder = EMA(encoder)

    def exports(self) -> dict[str, VideoViT]:
        """The EMA, which the released code evaluates, and the encoder that gradients train."""
        return {"ema": cast(VideoViT, self.target_encoder.module), **super().exports()}

    def masks(self, num_clips: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """For each kind of mask: kept int64 [B, K] and masked int64 [B, M]."""
        grid = self.encoder.grid
        return [
            multi_block(num_clips, grid, number, scale, self.aspect, 1.0, self.trim, self.aspect_draw, device)
            for number, scale in self.blocks
        ]

    def targets(self, video: Tensor) -> Tensor:
        """Layer-normed EMA features of whole clips, [B, N, D], without gradient."""
        with torch.no_grad():
            features = self.target_encoder(video)
            return F.layer_norm(features.float(), features.shape[-1:])

    def predict(self, video: Tensor, keep: Tensor, hide: Tensor, kind: int = 0) -> Tensor:
        """Predicted features of masked tokens, float32 [B, M, D]."""
        token = 0 if self.shared_mask_token else kind
        out: Tensor = self.predictor(self.encoder(video, keep), keep, hide, token)
        return out.float()

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `video` [B, 3, T, H, W]."""
        video = batch["video"]
        target = self.targets(video)
        losses = [
            latent_loss(self.predict(video, keep, hide, kind), gather(target, hide))
            for kind, (keep, hide) in enumerate(self.masks(video.shape[0], video.device))
        ]
        return {"loss": torch.stack(losses).mean()}

    def update_ema(self, progress: float) -> None:
        """Update the EMA of the encoder; its momentum changes linearly over the run's schedules."""
        momentum = self.momentum + (self.final_momentum - self.momentum) * progress
        self.target_encoder.update(self.encoder, momentum)

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Collapse indicators: deviation and effective rank of the targets, and how well they are predicted."""
        video = batch["video"]
        target = self.targets(video)
        keep, hide = self.masks(video.shape[0], video.device)[0]
        hidden = gather(target, hide)
        rows = hidden.flatten(0, 1)
        return {
            "feature_std": feature_std(rows),
            "effective_rank": effective_rank(rows),
            "target_cosine": mean_cosine(self.predict(video, keep, hide), hidden),
        }
