"""Tiny vision-language models with random weights, in the layout of published ones, with their processors."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from surgvl.api import load_answerer
from surgvl.chat import hf_model
from surgvl.chat.hf_answerer import HfAnswerer
from surgvl.chat.hf_model import load_hf
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig

VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISION)
# In the manner of Qwen's templates.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATCH, MERGE = 8, 2
PIXELS = {"shortest_edge": (PATCH * MERGE) ** 2, "longest_edge": (PATCH * MERGE) ** 2 * 16}


def letter_tokenizer(
    special: Sequence[str] = SPECIAL,
    named: Mapping[str, str] | None = None,
    end: str = "<|im_end|>",
    pad: str = "<|endoftext|>",
    **more: str,
) -> PreTrainedTokenizerFast:
    """A tokenizer of ASCII letters and special tokens, Qwen's if not told; of all bytes, random weights write no text.

    `named`: special tokens that are attributes; `more`: further fields of the class.
    """
    # The letters that stand for a line break and a blank in this format.
    alphabet = ["\u010a", "\u0120", *map(chr, range(33, 127))]
    inner = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=end,
        pad_token=pad,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
        extra_special_tokens=dict(named or {}),
        **more,
    )


def save_qwen3_vl(folder: Path, seed: int = 0, picture_mean: float = 0.5) -> Path:
    """A Qwen3-VL of two layers.

    Args:
        folder: where it is written.
        seed: of its weights.
        picture_mean: of the normalisation of pictures; that of videos is 0.5, as all of both are in published ones.
    """
    tokenizer = letter_tokenizer()
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    text = {
        **{"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 4096},
        "rope_parameters": {
            **{"rope_type": "default", "rope_theta": 10000.0},
            **{"mrope_section": [8, 4, 4], "mrope_interleaved": True},
        },
    }
    vision = {
        **{"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 1, "patch_size": PATCH},
        **{"spatial_merge_size": MERGE, "out_hidden_size": 64, "num_position_embeddings": 64},
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(  # type: ignore[call-arg]
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        eos_token_id=ids["<|im_end|>"],
    )
    sizes = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2, "size": PIXELS}
    pictures = {"image_mean": [picture_mean] * 3, "image_std": [0.5] * 3}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes, **pictures),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**sizes),
        chat_template=TEMPLATE,
    )
    model = Qwen3VLForConditionalGeneration(config)
    return save(model, processor, folder, ids["<|im_end|>"], seed)


def save_qwen2_5_vl(folder: Path, seed: int = 0) -> Path:
    """A Qwen2.5-VL of two layers."""
    tokenizer = letter_tokenizer()
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    text = {
        **{"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 4096},
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 4, 4]},
    }
    vision = {
        **{"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 1, "patch_size": PATCH},
        **{"spatial_merge_size": MERGE, "out_hidden_size": 64, "window_size": 64, "fullatt_block_indexes": [1]},
    }
    config = Qwen2_5_VLConfig(  # type: ignore[call-arg]
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        eos_token_id=ids["<|im_end|>"],
    )
    sizes = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2, "size": PIXELS}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=TEMPLATE,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    return save(model, processor, folder, ids["<|im_end|>"], seed)


@cache
def read_once(name: str, device: str = "cpu") -> tuple[Any, Any]:
    """`load_hf` of a folder, once for all tests, which leave the model as it is."""
    return load_hf(name, device)


def answerer_of(folder: Path, clip: ClipInput, reply: ReplyConfig) -> HfAnswerer:
    """The answerer of a folder, whose model is read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf_model, "load_hf", read_once)
        found = load_answerer(f"hf:{folder}", clip=clip, reply=reply)
    assert isinstance(found, HfAnswerer)
    return found


def save(model: torch.nn.Module, processor: object, folder: Path, end_id: int, seed: int = 0) -> Path:
    """Draw weights so large that what is seen and asked decides what is said, and write the folder."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, weight[0].numel() ** -0.5, generator=generator)
    model.generation_config.eos_token_id = end_id  # type: ignore[union-attr]
    model.save_pretrained(folder)  # type: ignore[operator]
    processor.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder
