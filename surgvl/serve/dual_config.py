"""The `config.json` of a video-text model's folder, as transformers and vLLM read it."""

from typing import Any, Literal

from transformers import PreTrainedConfig

# Ids of a text that the server takes; the text tower cuts at its own length.
LONGEST_TEXT = 8192


class DualConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """A video tower and a text tower in one space.

    Args:
        dim: width E of the space.
        encoder: arguments of `VideoViT`.
        text: configuration of `TextTower`.
        text_ids: what the folder's `tokenizer.json` makes of a text: `tokens` of the text tower, or its UTF-8 `bytes`,
            where the tower has a tokenizer that cannot be written down in this way.
        hidden_size: E.
        max_position_embeddings: ids of the longest text that a server takes.
        num_attention_heads: none of vLLM's own; it asks nevertheless.
        num_hidden_layers: none of vLLM's own; it asks nevertheless.
        vocab_size: none of vLLM's own; what ids there are is up to the tokenizer.
    """

    model_type = "surgvl_dual"

    dim: int = 1
    encoder: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    text_ids: Literal["tokens", "bytes"] = "tokens"
    hidden_size: int = 1
    max_position_embeddings: int = LONGEST_TEXT
    num_attention_heads: int = 1
    num_hidden_layers: int = 1
    vocab_size: int = 1

    def __post_init__(self, **kwargs: Any) -> None:
        """Take vLLM's word for the width from ours."""
        self.hidden_size = self.dim
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
