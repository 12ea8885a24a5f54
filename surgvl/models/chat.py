"""Chat model: a video encoder, a projector and a causal language model, as in LLaVA (Liu et al., arXiv 2304.08485).

Visual tokens replace their placeholders in the text (see `processor`).
Shapes: B texts, L tokens per text, N visuals in the order of their placeholders, V tokens each, M language width.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from surgvl.core.errors import CheckpointError, DataError
from surgvl.models.config import SurgVLConfig
from surgvl.models.processor import SurgVLProcessor, with_marks
from surgvl.models.projector import Projector
from surgvl.models.schema import checked
from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, Tokenizer
from surgvl.models.tokenizer_files import fast_tokenizer
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess


def tiny_language_config(tokenizer: Tokenizer, width: int = 192, layers: int = 4, heads: int = 3) -> dict[str, Any]:
    """Configuration of the built-in language model: a small Qwen2 over the shipped vocabulary and the two marks."""
    return {
        "model_type": "qwen2",
        "vocab_size": tokenizer.vocab_size + 2,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
    }


class Chat(PreTrainedModel):
    """Answers questions about clips and images.

    Args:
        config: configuration of encoder, projector and language model.
        encoder: used instead of building the configured one.
        language: used instead of building the configured one.
    """

    model_type = SurgVLConfig.model_type
    config_class = SurgVLConfig
    base_model_prefix = "language"
    main_input_name = "input_ids"
    input_modalities = ["text", "image", "video"]
    _supports_sdpa = True
    # Its name in vLLM, see surgvl.serve.
    architecture = "SurgVLForConditionalGeneration"

    def __init__(self, config: SurgVLConfig, encoder: VideoViT | None = None, language: Any = None):
        super().__init__(config)
        text: Any = config.text_config
        if language is None:
            language = AutoModelForCausalLM.from_config(text)
        self.encoder = VideoViT(checked(config.encoder or {}, ViTConfig, "config.json")) if encoder is None else encoder
        self.language: Any = language
        width = int(text.get_text_config().hidden_size)
        self.projector = Projector(self.encoder.dim, width, self.encoder.grid, **(config.projector or {}))
        self.processor: SurgVLProcessor | None = None
        self.post_init()  # type: ignore[no-untyped-call]

    def init_weights(self) -> None:
        """Does nothing: each part initialises itself or is already trained."""

    @classmethod
    def of(
        cls,
        encoder: VideoViT,
        language: Any,
        tokenizer: SentencePieceTokenizer | HuggingFaceTokenizer,
        projector: dict[str, Any],
        preprocess: Preprocess,
    ) -> "Chat":
        """Assemble a chat model from trained parts and a new projector.

        Args:
            encoder: video encoder.
            language: a transformers causal language model; its embeddings are extended for the marks if needed.
            tokenizer: its tokenizer, or the shipped one.
            projector: arguments of `Projector`.
            preprocess: how clips are cut.

        Raises:
            CheckpointError: the tokenizer has more tokens than the language model.
        """
        if isinstance(tokenizer, HuggingFaceTokenizer):
            inner: Any = tokenizer.inner
        else:
            inner = fast_tokenizer(tokenizer.path)
        text = language.config.get_text_config()
        if len(inner) > text.vocab_size:
            raise CheckpointError(
                f"the tokenizer has {len(inner)} tokens and the language model {text.vocab_size}: "
                "give the model's own tokenizer"
            )
        inner = with_marks(inner)
        if len(inner) > text.vocab_size:
            language.resize_token_embeddings(len(inner), mean_resizing=False)
        image_id, video_id = inner.convert_tokens_to_ids(["<image>", "<video>"])
        config = SurgVLConfig(
            encoder=encoder.config.to_dict(),
            projector=projector,
            text_config=language.config.to_dict(),
            image_token_id=image_id,
            video_token_id=video_id,
            fps=preprocess.fps,
            crop=preprocess.crop,
            anchor=preprocess.anchor,
            step_s=preprocess.step_s,
        )
        chat = cls(config, encoder, language)
        chat.attach(inner)
        return chat

    def attach(self, tokenizer: Any) -> None:
        """Set the transformers tokenizer, and with it the processor."""
        config, encoder, projector = self.config, self.encoder, self.projector
        self.processor = SurgVLProcessor(
            tokenizer,
            encoder.config.num_frames,
            config.fps,
            encoder.config.size_px,
            projector.num_groups,
            projector.group_size,
        )
        found = (self.processor.image_id, self.processor.video_id)
        if found != (config.image_token_id, config.video_token_id):
            want = (config.image_token_id, config.video_token_id)
            raise CheckpointError(
                f"the tokenizer's marks are {found}, the configuration's {want}: give the model's own tokenizer"
            )

    @property
    def ready(self) -> SurgVLProcessor:
        """The processor.

        Raises:
            CheckpointError: no tokenizer is attached.
        """
        if self.processor is None:
            raise CheckpointError("the chat model has no tokenizer: load it from its folder, or `attach` one")
        return self.processor

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer as a plain encoder and decoder of text."""
        return HuggingFaceTokenizer(self.ready.tokenizer)

    # ---- folders

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *_: Any, dtype: torch.dtype | None = None, **__: Any
    ) -> "Chat":
        """Load a model folder or hub id, with its tokenizer.

        Other arguments of transformers' loaders are ignored: the folder determines everything.

        Raises:
            CheckpointError: not a chat model's folder, or weights that do not fit exactly.
        """
        from surgvl.models.checkpoint import load_model
        from surgvl.models.model_info import resolve_model

        model, _preprocess = load_model(resolve_model(pretrained_model_name_or_path))
        if not isinstance(model, cls):
            raise CheckpointError(
                f"{pretrained_model_name_or_path} holds a {type(model).__name__}, not a chat model: give a run folder "
                "of `surgvl tune`"
            )
        if dtype is not None:
            torch.nn.Module.to(model, dtype)
        return model

    def save_pretrained(self, save_directory: str | Path, *_: Any, **__: Any) -> None:  # type: ignore[override]
        """Write a model folder; see `checkpoint.save_model`."""
        from surgvl.models.checkpoint import save_model

        clip = Preprocess(
            num_frames=self.encoder.config.num_frames,
            fps=self.config.fps,
            size_px=self.encoder.config.size_px,
            crop=self.config.crop,
            anchor=self.config.anchor,
            step_s=self.config.step_s,
        )
        save_model(self, save_directory, clip)

    # ---- encoding and answering

    def encode_visual(self, visuals: Tensor) -> Tensor:
        """Clips [N, 3, T, H, W] -> pooled encoder tokens, before all parameters of the projector, [N, stored, D]."""
        return self.projector.pool(self.encoder(visuals))

    def embed(self, input_ids: Tensor, pooled: Tensor | None = None) -> Tensor:
        """Embeddings [B, L, M] of texts with their visual tokens.

        Args:
            input_ids: int64 [B, L].
            pooled: from `encode_visual`, N visuals in the order of their placeholders.

        Raises:
            DataError: the numbers of placeholders and of visual tokens differ.
        """
        embeddings: Tensor = self.language.get_input_embeddings()(input_ids)
        places = (input_ids == self.config.video_token_id) | (input_ids == self.config.image_token_id)
        num_places, num_visuals = int(places.sum()), 0 if pooled is None else len(pooled)
        if num_places != num_visuals * self.projector.num_tokens:
            raise DataError(
                f"the texts have places for {num_places} visual tokens, and {num_visuals} visuals give "
                f"{num_visuals * self.projector.num_tokens}: give one visual for each mark"
            )
        if pooled is None or not num_visuals:
            return embeddings
        visual = self.projector(pooled.to(self.projector.norm.weight.dtype)).to(embeddings.dtype)
        return embeddings.masked_scatter(places[..., None], visual)

    def forward(
        self,
        input_ids: Tensor,
        visuals: Tensor | None = None,
        pooled: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Any:
        """Next-token logits.

        Args:
            input_ids: int64 [B, L].
            visuals: clips uint8 [N, 3, T, H, W]; or
            pooled: from `encode_visual`.
            attention_mask: [B, L], or an additive mask [B, 1, L, L].
            position_ids: int64 [B, L].
            labels: int64 [B, L], -100 for tokens without loss.

        Returns:
            transformers' output with `logits` [B, L, vocabulary] and, with labels, `loss`.
        """
        pooled = self.encode_visual(visuals) if visuals is not None else pooled
        return self.language(
            inputs_embeds=self.embed(input_ids, pooled),
            attention_mask=attention_mask,
            position_ids=position_ids,
            labels=labels,
            use_cache=False,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        visuals: Tensor | None = None,
        pooled: Tensor | None = None,
        attention_mask: Tensor | None = None,
        max_new_tokens: int = 32,
        do_sample: bool = False,
        **generation: Any,
    ) -> Tensor:
        """New token ids int64 [B, new]; greedy by default. Other arguments are those of transformers' `generate`."""
        pooled = self.encode_visual(visuals) if visuals is not None else pooled
        tokenizer = self.ready.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        out: Tensor = self.language.generate(
            inputs_embeds=self.embed(input_ids, pooled),
            attention_mask=torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=do_sample,
            pad_token_id=pad,
            **generation,
        )
        return out


AutoModel.register(SurgVLConfig, Chat, exist_ok=True)
AutoModelForImageTextToText.register(SurgVLConfig, Chat, exist_ok=True)
AutoProcessor.register(SurgVLConfig, SurgVLProcessor, exist_ok=True)
