"""Tiny models of transformers with random weights, in the files of the repositories of published ones."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE

import surgvl.models
from surgvl.core.registry import choose
from surgvl.models import adapters
from surgvl.models.checkpoint import save_model
from surgvl.models.named import HUB_FAMILIES
from surgvl.models.video_text import VideoText

SPM = Path(surgvl.models.__file__).parent / "vocabulary.spm"
WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
EYES = {**WIDTH, "image_size": 32, "patch_size": 16}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}{% if part['type'] == 'video' %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def bytes_model() -> tokenizers.Tokenizer:
    """A byte-level tokenizer without merges: one token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(BPE({letter: place for place, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def clip(folder: Path) -> None:
    """CLIP: its tokenizer, a centre crop."""
    text = {**WIDTH, "vocab_size": 600, "max_position_embeddings": 20, "eos_token_id": 513, "bos_token_id": 512}
    config = transformers.CLIPConfig(text_config=text, vision_config=EYES, projection_dim=16)
    transformers.CLIPModel(config).save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    transformers.CLIPTokenizer({name: place for place, name in enumerate(names)}, []).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPImageProcessor(**size).save_pretrained(folder)


def xclip(folder: Path) -> None:
    """X-CLIP of 4 frames."""
    clip(folder)
    text = {**WIDTH, "vocab_size": 600, "max_position_embeddings": 20, "eos_token_id": 513, "bos_token_id": 512}
    mit = {f"mit_{name}": value for name, value in {**WIDTH, "hidden_size": 16}.items()}
    config = transformers.XCLIPConfig(
        text_config=text, vision_config={**EYES, **mit, "num_frames": 4}, projection_dim=16
    )
    transformers.XCLIPModel(config).save_pretrained(folder)


def siglip(folder: Path) -> None:
    """SigLIP: SentencePiece, all sentences of one length."""
    text = {**WIDTH, "vocab_size": 2000, "max_position_embeddings": 16, "pad_token_id": 1, "projection_size": 32}
    transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=EYES)).save_pretrained(folder)
    shutil.copyfile(SPM, folder / "spiece.model")
    transformers.SiglipTokenizer.from_pretrained(folder).save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}, resample=2).save_pretrained(folder)


def siglip2(folder: Path) -> None:
    """SigLIP 2 of fixed resolution: SigLIP with a tokenizer that keeps capitals and makes masks."""
    siglip(folder)
    for old in ("spiece.model", "tokenizer_config.json"):
        (folder / old).unlink()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_model(), pad_token="<pad>", padding_side="right"
    ).save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def qwen3_vl(folder: Path) -> None:
    """Qwen3-VL-Embedding."""
    made = bytes_model()
    pads = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
            "<|video_pad|>"]  # fmt: skip
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pads[0], eos_token=pads[2], additional_special_tokens=pads[1:]
    )
    ids: dict[str, Any] = {pad: tokenizer.convert_tokens_to_ids(pad) for pad in pads}
    text = {**WIDTH, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(tokenizer), "num_hidden_layers": 2,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
            "pad_token_id": ids[pads[0]]}  # fmt: skip
    eyes = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
            "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}  # fmt: skip
    config = transformers.Qwen3VLConfig(
        text_config=text,
        vision_config=eyes,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    # As published: with the head's prefix, by which transformers finds the model in it.
    transformers.Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    size = {"longest_edge": 65536, "shortest_edge": 4096}
    processor = transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessor(size=size, patch_size=16),
        tokenizer,
        transformers.Qwen3VLVideoProcessor(size=size),
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)
    (folder / "modules.json").write_text("[]")


KINDS: dict[str, Callable[[Path], None]] = {
    "clip": clip, "siglip": siglip, "siglip2": siglip2, "xclip": xclip, "qwen3_vl": qwen3_vl,
}  # fmt: skip


def made(kind: str, folder: Path) -> Path:
    """The repository of a kind."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    KINDS[kind](folder)
    return folder


def model_folder(kind: str, place: Path) -> Path:
    """The model folder of such a repository, as a name of the hub gives it."""
    repository, folder = made(kind, place / "repository"), place / "model"
    folder.mkdir()
    family = choose(adapters, VideoText, HUB_FAMILIES[kind])  # type: ignore[type-abstract]
    model, preprocess = family.convert(repository / "config.json", repository, {}, folder)
    save_model(model, folder, preprocess, has_weights=True)
    return folder
