"""Dual encoder: a video and a text tower in one space of unit vectors, as in CLIP (Radford et al., arXiv 2103.00020).

Shapes: B clips or sentences, E width of the shared space.
"""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.models.pool import AttentivePool
from surgvl.models.schema import checked
from surgvl.models.text import TextTower
from surgvl.models.tokenizer import SentencePieceTokenizer
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig


class DualEncoder(VideoText):
    """Maps clips and sentences to unit vectors whose inner product is their similarity.

    Args:
        encoder: video encoder.
        text: text tower of width E.
        dim: width E.
    """

    model_type = "surgvl_dual"

    def __init__(self, encoder: VideoViT, text: TextTower, dim: int):
        super().__init__()
        self.encoder = encoder
        # Many narrow heads: several instruments and their targets must be read from one clip.
        self.pool = AttentivePool(encoder.dim, heads=max(1, encoder.dim // 16))
        self.project = nn.Linear(encoder.dim, dim, bias=False)
        self.text = text
        # A vector of one, because FSDP shards no scalar (open_clip: `nonscalar_logit_scale`).
        self.logit_scale = nn.Parameter(torch.tensor([math.log(1 / 0.07)]))
        self.dim = dim

    @property
    def config(self) -> dict[str, Any]:
        """The argument of `from_config`."""
        return {"dim": self.dim, "encoder": self.encoder.config.to_dict(), "text": self.text.config}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> "DualEncoder":
        """Build an untrained model from a model folder's `config.json`."""
        return cls(
            VideoViT(checked(config["encoder"], ViTConfig, "config.json")),
            TextTower(config["text"], folder),
            config["dim"],
        )

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Encoder tokens [B, N, D] -> unit vectors, float32 [B, E]."""
        return F.normalize(self.project(self.pool(tokens)).float(), dim=-1)

    def encode_video(self, video: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W], uint8 or float in 0..255 -> unit vectors, float32 [B, E]."""
        return self.encode_tokens(self.encoder(video))

    def encode_text(self, sentences: list[str]) -> Tensor:
        """Sentences -> unit vectors, float32 [B, E]."""
        return F.normalize(self.text(sentences).float(), dim=-1)

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        return self.text.left_out(sentences)

    def save_tokenizer(self, folder: Path) -> None:
        """Write the text tower's tokenizer; SentencePiece's a second time, in the format that vLLM reads."""
        self.text.save_tokenizer(folder)
        if isinstance(self.text.tokenizer, SentencePieceTokenizer):
            # transformers takes seconds to import.
            from surgvl.models.tokenizer_files import sentence_tokenizer

            sentence_tokenizer(folder / "tokenizer.spm").save_pretrained(folder)
