"""Align a video encoder to a text tower: contrastive learning on clips and their narration.

CLIP (arXiv 2103.00020) on clips, as SurgVLP on surgical lectures (arXiv 2307.15220).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.align.losses import contrastive_loss, unique_sentences
from surgvl.core.errors import ConfigError
from surgvl.models.dual_encoder import DualEncoder
from surgvl.train.objective import Objective


class ClipAlign(Objective):
    """Contrastive objective over a `DualEncoder`.

    Args:
        dual: trained in place.
        frozen_encoder: freeze the video encoder; train pool, projection and text tower only.
        encoder_rate: learning rate of the video encoder relative to the rest.
        token_keep: fraction of a clip's tokens encoded in training, drawn per clip and step (FLIP, arXiv 2212.00794);
            at inference the model sees all.

    Raises:
        ConfigError: `token_keep` is not in (0, 1].
    """

    def __init__(
        self, dual: DualEncoder, frozen_encoder: bool = False, encoder_rate: float = 1.0, token_keep: float = 1.0
    ):
        super().__init__()
        if not 0 < token_keep <= 1:
            raise ConfigError(f"--token_keep must be above 0 and at most 1, got {token_keep:g}")
        self.encoder_rate, self.token_keep = encoder_rate, token_keep
        self.dual = dual
        self.frozen_encoder = frozen_encoder
        dual.encoder.requires_grad_(not frozen_encoder)

    def train(self, mode: bool = True) -> "ClipAlign":
        """Set the mode; a frozen encoder stays in evaluation mode, so its tokens of a clip never change."""
        super().train(mode)
        if self.frozen_encoder:
            self.dual.encoder.eval()
        return self

    def lr_scales(self) -> dict[str, float]:
        """The encoder's factor on the learning rate."""
        return {"dual.encoder.": self.encoder_rate}

    def modules_to_compile(self) -> list[nn.Module]:
        """The video encoder; the text tower is not compiled, as the number of sentences varies between batches."""
        return [self.dual.encoder]

    def sample_tokens(self, video: Tensor) -> Tensor | None:
        """Indices of the tokens to encode, int64 [B, K], drawn per clip [B, 3, T, H, W]; None: all."""
        if self.token_keep == 1:
            return None
        num_tokens = self.dual.encoder.num_tokens
        order = torch.rand(len(video), num_tokens, device=video.device).argsort(1)
        return order[:, : max(1, round(num_tokens * self.token_keep))]

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `video` [B, 3, T, H, W] and `text`, a list of sentences per clip.

        With a frozen encoder the batch may hold its `tokens` [B, N, D] instead of the video.
        """
        dual = self.dual
        if "tokens" in batch:
            tokens = batch["tokens"]
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
                tokens = dual.encoder(batch["video"], self.sample_tokens(batch["video"]))
        video = dual.encode_tokens(tokens)
        sentences, positive = unique_sentences(batch["text"])
        text = dual.encode_text(sentences)
        # CLIP clamps the scale to 100 for stable training.
        scale = dual.logit_scale.clamp(max=math.log(100)).exp()
        return {"loss": contrastive_loss(video, text, scale, positive.to(video.device))}
