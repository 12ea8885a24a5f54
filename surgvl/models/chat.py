"""Video encoder, projector and a causal language model: a clip and a question in, an answer out.

The clip stands before the text as V embedded visual tokens, as in LLaVA (Liu et al., arXiv 2304.08485).
Shapes: B samples, V visual tokens, L text tokens, M language width.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.errors import CheckpointError, ConfigError
from surgvl.models.projector import Projector
from surgvl.models.tokenizer import Tokenizer, load_tokenizer
from surgvl.models.video_vit import VideoViT


def tiny_language_config(tokenizer: Tokenizer, width: int = 192, layers: int = 4, heads: int = 3) -> dict[str, Any]:
    """Configuration of the embedded language model: a small Qwen2 over the shipped vocabulary."""
    return {
        "model_type": "qwen2",
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
    }


class Chat(nn.Module):
    """Answers questions about clips.

    Args:
        encoder: video encoder.
        language: a transformers causal language model.
        tokenizer: its tokenizer.
        grid: (t, h, w) of the visual tokens.
    """

    model_type = "surgvl_chat"

    def __init__(self, encoder: VideoViT, language: Any, tokenizer: Tokenizer, grid: tuple[int, int, int]):
        super().__init__()
        self.encoder = encoder
        self.language: Any = language
        self.tokenizer = tokenizer
        width = int(self.language_config["hidden_size"])
        if tokenizer.vocab_size > int(self.language_config["vocab_size"]):
            raise CheckpointError(
                f"the tokenizer has {tokenizer.vocab_size} tokens and the language model "
                f"{self.language_config['vocab_size']}: give the tokenizer that belongs to it"
            )
        self.projector = Projector(encoder.dim, width, encoder.grid, grid)

    @property
    def language_config(self) -> dict[str, Any]:
        """The language model's own configuration."""
        config: dict[str, Any] = self.language.config.to_dict()
        return config

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {
            "encoder": self.encoder.config,
            "grid": list(self.projector.grid),
            "text_config": self.language_config,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> "Chat":
        """Build an untrained model from a model folder's `config.json`."""
        from transformers import AutoConfig, AutoModelForCausalLM

        t, h, w = config["grid"]
        language: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(**config["text_config"])
        )
        return cls(VideoViT(**config["encoder"]), language, load_tokenizer(folder), (t, h, w))

    def see(self, video: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> pooled encoder tokens [B, V, D], the input of `forward`."""
        return self.projector.pool(self.encoder(video))

    def inputs(self, pooled: Tensor, ids: Tensor) -> Tensor:
        """Embeddings [B, V + L, M]: the visual tokens, then the text.

        Raises:
            ConfigError: the number of clips and of texts differ, or the pooled tokens are not the projector's.
        """
        if pooled.shape[:2] != (ids.shape[0], self.projector.num_tokens):
            want = (ids.shape[0], self.projector.num_tokens)
            raise ConfigError(f"visual tokens of shape {tuple(pooled.shape[:2])} do not fit (texts, tokens) = {want}")
        visual = self.projector(pooled)
        text = self.language.get_input_embeddings()(ids)
        return torch.cat([visual.to(text.dtype), text], 1)

    def forward(self, pooled: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Next-token scores of the text.

        Args:
            pooled: pooled encoder tokens [B, V, D].
            ids: int64 [B, L], right-padded.
            mask: bool [B, L], true where there is text.

        Returns:
            Scores [B, L, vocabulary]; position j predicts token j + 1 of the text.
        """
        V = self.projector.num_tokens
        full = torch.cat([mask.new_ones(mask.shape[0], V), mask], 1).long()
        out = self.language(inputs_embeds=self.inputs(pooled, ids), attention_mask=full)
        logits: Tensor = out.logits[:, V:]
        return logits

    @torch.no_grad()
    def generate(self, pooled: Tensor, ids: Tensor, max_new_tokens: int = 32) -> list[str]:
        """Greedy answers to prompts of equal length: pooled [B, V, D], ids [B, L] -> B texts."""
        tokenizer = self.tokenizer
        embeddings = self.inputs(pooled, ids)
        out = self.language.generate(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long, device=ids.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_id,
            eos_token_id=tokenizer.eos_id,
        )
        texts = []
        for row in out.tolist():
            end = row.index(tokenizer.eos_id) if tokenizer.eos_id in row else len(row)
            texts.append(tokenizer.decode(row[:end]).strip())
        return texts
