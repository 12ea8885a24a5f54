"""The `config.json` of a video-text model's folder, as transformers and vLLM read it."""

from typing import Any, Literal

from transformers import PreTrainedConfig

# Ids of a text that the server accepts; the text tower truncates at its own context length.
MAX_TEXT_IDS = 8192


class DualConfig(PreTrainedConfig):
    """A video tower and a text tower in one space.

    Args:
        dim: width E of the space.
        encoder: fields of `ViTConfig`.
        text: configuration of `TextTower`.
        family: that of a published model, which has neither of the two.
        text_ids: what the folder's `tokenizer.json` produces: `tokens` of the text tower, or UTF-8 `bytes` if the
            tower's tokenizer cannot be written as such a file.
        hidden_size: E.
        max_position_embeddings: ids of the longest text that a server accepts.
        num_attention_heads: unused; vLLM requires it.
        num_hidden_layers: unused; vLLM requires it.
        vocab_size: unused; vLLM requires it, and the tokenizer decides.
    """

    model_type = "surgvl_dual"

    dim: int = 1
    encoder: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    family: str = ""
    text_ids: Literal["tokens", "bytes"] = "tokens"
    hidden_size: int = 1
    max_position_embeddings: int = MAX_TEXT_IDS
    num_attention_heads: int = 1
    num_hidden_layers: int = 1
    vocab_size: int = 1

    def __post_init__(self, **kwargs: Any) -> None:
        """Set vLLM's name of the width from ours."""
        self.hidden_size = self.dim
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
