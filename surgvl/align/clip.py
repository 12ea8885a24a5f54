"""Align a video encoder to a text tower: contrastive learning on clips and the sentences spoken over them.

Base method: CLIP (arXiv 2103.00020) with clips for images, as SurgVLP does for surgical lectures (arXiv 2307.15220).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.align.losses import contrastive, pairs
from surgvl.core.errors import ConfigError
from surgvl.models.dual import Dual
from surgvl.train.objective import Objective


class ClipAlign(Objective):
    """Contrastive objective over a `Dual`.

    Args:
        dual: trained in place.
        frozen_encoder: keep the video encoder as it is and train pool, projection and text tower only.
        encoder_rate: learning rate of the video encoder over that of the rest.
        token_keep: share of a clip's tokens that training encodes, drawn anew for each clip and step (arXiv
            2212.00794); the trained model sees all.

    Raises:
        ConfigError: `token_keep` is no share.
    """

    def __init__(self, dual: Dual, frozen_encoder: bool = False, encoder_rate: float = 1.0, token_keep: float = 1.0):
        super().__init__()
        if not 0 < token_keep <= 1:
            raise ConfigError(f"--token_keep must be above 0 and at most 1, got {token_keep:g}: 1 encodes all tokens")
        self.encoder_rate, self.token_keep = encoder_rate, token_keep
        self.dual = dual
        self.frozen_encoder = frozen_encoder
        dual.encoder.requires_grad_(not frozen_encoder)

    def train(self, mode: bool = True) -> "ClipAlign":
        """As any module, but for a frozen encoder, which gives the same tokens of a clip at each step."""
        super().train(mode)
        if self.frozen_encoder:
            self.dual.encoder.eval()
        return self

    def rates(self) -> dict[str, float]:
        """The encoder's share of the learning rate."""
        return {"dual.encoder.": self.encoder_rate}

    def compiled(self) -> list[nn.Module]:
        """The video encoder: sentences differ in number from batch to batch, so the text tower stays as it is."""
        return [self.dual.encoder]

    def draw(self, video: Tensor) -> Tensor | None:
        """Numbers of the tokens to encode, int64 [B, K], other ones in each clip [B, 3, T, H, W]; None for all."""
        if self.token_keep == 1:
            return None
        num_tokens = self.dual.encoder.num_tokens
        order = torch.rand(len(video), num_tokens, device=video.device).argsort(1)
        return order[:, : max(1, round(num_tokens * self.token_keep))]

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `video` [B, 3, T, H, W] and `text`, for each clip a list of its sentences.

        With a frozen encoder it may hold `tokens` [B, N, D], which that gave, in place of the video.
        """
        dual = self.dual
        if "tokens" in batch:
            tokens = batch["tokens"]
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
                tokens = dual.encoder(batch["video"], self.draw(batch["video"]))
        video = dual.encode_tokens(tokens)
        sentences, positive = pairs(batch["text"])
        text = dual.encode_text(sentences)
        # CLIP keeps the scale at or below 100, so that one pair cannot take the whole gradient.
        scale = dual.logit_scale.clamp(max=math.log(100)).exp()
        return {"loss": contrastive(video, text, scale, positive.to(video.device))}
