"""Align a video encoder to a text tower: contrastive learning on clips and their narration.

CLIP (arXiv 2103.00020) on clips, as SurgVLP on surgical lectures (arXiv 2307.15220).
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.align.frozen_text import FrozenText
from surgvl.align.losses import contrastive_loss, unique_sentences
from surgvl.core.errors import ConfigError
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.video_text import VideoText
from surgvl.train.contrastive import Contrastive
from surgvl.train.distributed import local_tensor
from surgvl.train.objective import Batch


class SentenceContrast(Contrastive):
    """Contrastive loss of clips and their sentences in the space of a video-text model."""

    dual: VideoText

    def labels(self, batch: Batch) -> list[list[str]]:
        """The sentences of each clip."""
        texts: list[list[str]] = batch["text"]
        return texts

    def compare(self, embeddings: Mapping[str, Tensor], labels: Sequence[list[list[str]]]) -> dict[str, Tensor]:
        """Contrastive loss of all clips of a step; a sentence of several micro-batches is taken from the first."""
        rows = [sentence for texts in labels for sentence in unique_sentences(texts)[0]]
        first = {sentence: row for row, sentence in reversed(list(enumerate(rows)))}
        sentences, positive = unique_sentences([each for texts in labels for each in texts])
        text = embeddings["text"][[first[sentence] for sentence in sentences]]
        scale = self.dual.logit_scale.squeeze().exp()
        return {"loss": contrastive_loss(embeddings["video"], text, scale, positive.to(text.device))}

    def after_step(self, progress: float) -> None:
        """Keep the scale of the cosines within 1 and 100, after each step as in open_clip."""
        with torch.no_grad():
            local_tensor(self.dual.logit_scale).clamp_(0, math.log(100))


class ClipAlign(SentenceContrast):
    """Contrastive objective over a `DualEncoder`.

    Args:
        dual: trained in place.
        frozen_encoder: freeze the video encoder; train pool, projection and text tower only.
        encoder_rate: learning rate of the video encoder relative to the rest.
        token_keep: fraction of a clip's tokens encoded in training, drawn per clip and step (FLIP, arXiv 2212.00794);
            at inference the model sees all.
        frozen_text: the text tower's output for all sentences, if only its projection is trained.

    Raises:
        ConfigError: `token_keep` is not in (0, 1].
    """

    def __init__(
        self,
        dual: DualEncoder,
        frozen_encoder: bool = False,
        encoder_rate: float = 1.0,
        token_keep: float = 1.0,
        frozen_text: FrozenText | None = None,
    ):
        super().__init__()
        if not 0 < token_keep <= 1:
            raise ConfigError(f"--token_keep must be above 0 and at most 1, got {token_keep:g}")
        self.encoder_rate, self.token_keep = encoder_rate, token_keep
        self.dual: DualEncoder = dual
        self.frozen_encoder, self.frozen_text = frozen_encoder, frozen_text
        dual.encoder.requires_grad_(not frozen_encoder)
        dual.text.pretrained.requires_grad_(frozen_text is None)

    def train(self, mode: bool = True) -> "ClipAlign":
        """Set the mode; what is frozen stays in evaluation mode, so its output for a clip or sentence never changes."""
        super().train(mode)
        if self.frozen_encoder:
            self.dual.encoder.eval()
        if self.frozen_text is not None:
            self.dual.text.pretrained.eval()
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

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors of the clips, `video` [B, E], and of their different sentences, `text` [U, E].

        Args:
            batch: `video` [B, 3, T, H, W] and `text`, a list of sentences per clip. With a frozen encoder it may hold
                its `tokens` [B, N, D] instead of the video.
        """
        dual = self.dual
        if "tokens" in batch:
            tokens = batch["tokens"]
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
                tokens = dual.encoder(batch["video"], self.sample_tokens(batch["video"]))
        sentences, _ = unique_sentences(batch["text"])
        if self.frozen_text is None:
            text = dual.encode_text(sentences)
        else:
            text = F.normalize(dual.text.project_pooled(self.frozen_text(sentences)).float(), dim=-1)
        return {"video": dual.encode_tokens(tokens), "text": text}
