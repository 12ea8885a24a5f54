"""Tiny vision-language models of other families than Qwen's with random weights, in the layout of published ones.

Their chat templates are written for the tests, with the habits of the published ones that matter: Gemma's begins with
the token that its tokenizer adds by itself, LLaVA's puts pictures before words and a blank before an answer that its
prompt has not, SmolVLM's puts one after the colon.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.processors import TemplateProcessing

from tests.helpers.made_vision_language import letter_tokenizer, save

TEXT = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 8192},
}
SIZE, PATCH = 32, 8
EYES = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"image_size": SIZE, "patch_size": PATCH},
}
SQUARE = {"height": SIZE, "width": SIZE}
PARTS = (
    "{% for part in message.content %}{% if part.type == 'image' %}IMAGE{% elif part.type == 'video' %}VIDEO"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\nPARTS<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}: PARTS<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message.role == 'assistant' else message.role }}\nPARTS<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAVA = (
    "{% for message in messages %}<|im_start|>{{ message.role + ' ' }}"
    "{% for part in message.content if part.type != 'text' %}<{{ part.type }}>{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ '\n' + part.text }}{% endfor %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def template(written: str, image: str, video: str = "") -> str:
    return written.replace("PARTS", PARTS).replace("IMAGE", image).replace("VIDEO", video)


def smolvlm(folder: Path) -> Path:
    """SmolVLM2, which cuts pictures in tiles and writes the times of a video's frames."""
    rows = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    special = ("<|im_end|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>",
               "<global-img>", *rows)  # fmt: skip
    tokenizer = letter_tokenizer(special, end="<end_of_utterance>", pad="<|im_end|>")
    sizes = {"size": {"longest_edge": 2 * SIZE}, "max_image_size": {"longest_edge": SIZE}}
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(**sizes, do_image_splitting=True),
        tokenizer,
        transformers.SmolVLMVideoProcessor(**sizes, num_frames=64, fps=1),
        image_seq_len=(SIZE // PATCH // 2) ** 2,
        chat_template=template(SMOLVLM, "<image>", "<video>"),
    )
    torch.manual_seed(0)
    config = transformers.SmolVLMConfig(
        text_config={**TEXT, "model_type": "llama", "vocab_size": len(tokenizer)},
        vision_config=EYES,
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    return save(transformers.SmolVLMForConditionalGeneration(config), processor, folder, tokenizer.eos_token_id)


def internvl(folder: Path) -> Path:
    """InternVL 3 in transformers' layout."""
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
             "video_token": "<video>"}  # fmt: skip
    tokenizer = letter_tokenizer(("<|endoftext|>", "<|im_start|>", "<|im_end|>", *named.values()), named)
    processor = transformers.InternVLProcessor(
        transformers.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, max_patches=4),
        tokenizer,
        transformers.InternVLVideoProcessor(size=SQUARE),
        image_seq_length=(SIZE // PATCH // 2) ** 2,
        chat_template=template(CHATML, "<IMG_CONTEXT>\n", "<video>\n"),
    )
    torch.manual_seed(0)
    config = transformers.InternVLConfig(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)},
        vision_config=EYES,
        image_token_id=processor.image_token_id,
        image_seq_length=processor.image_seq_length,
        tie_word_embeddings=False,
    )
    return save(transformers.InternVLForConditionalGeneration(config), processor, folder, tokenizer.eos_token_id)


def gemma3(folder: Path) -> Path:
    """Gemma 3, which takes no videos."""
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    special = ("<pad>", "<bos>", "<start_of_turn>", "<end_of_turn>", *named.values())
    tokenizer = letter_tokenizer(special, named, end="<end_of_turn>", pad="<pad>", bos_token="<bos>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "<bos> $A", None, [("<bos>", tokenizer.bos_token_id)]
    )
    processor = transformers.Gemma3Processor(
        transformers.Gemma3ImageProcessor(size=SQUARE),
        tokenizer,
        chat_template=template(GEMMA, "<start_of_image>"),
        image_seq_length=4,
    )
    ids: dict[str, Any] = {
        name.replace("_token", "_token_index"): tokenizer.convert_tokens_to_ids(token) for name, token in named.items()
    }
    torch.manual_seed(0)
    config = transformers.Gemma3Config(
        text_config={**TEXT, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id},
        vision_config=EYES,
        mm_tokens_per_image=4,
        **ids,
    )
    return save(transformers.Gemma3ForConditionalGeneration(config), processor, folder, tokenizer.eos_token_id)


def llava_onevision(folder: Path) -> Path:
    """LLaVA-OneVision, which cuts a single picture in tiles, and several not."""
    tokenizer = letter_tokenizer(("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"))
    pins = [[SIZE, SIZE], [SIZE, 2 * SIZE], [2 * SIZE, 2 * SIZE]]
    processor = transformers.LlavaOnevisionProcessor(
        transformers.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=pins),
        tokenizer,
        transformers.LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=(SIZE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=LLAVA,
    )
    torch.manual_seed(0)
    config = transformers.LlavaOnevisionConfig(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)},
        vision_config={**EYES, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=pins,
    )
    return save(transformers.LlavaOnevisionForConditionalGeneration(config), processor, folder, tokenizer.eos_token_id)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "smolvlm": smolvlm, "internvl": internvl, "gemma3": gemma3, "llava_onevision": llava_onevision,
}  # fmt: skip
