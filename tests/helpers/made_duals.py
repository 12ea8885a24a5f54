"""Small random video-text models with any text tower, and their folders as they were before there was a server."""

from collections.abc import Iterator
from pathlib import Path

import torch

from surgvl.core.files import read_json, write_json
from surgvl.models.checkpoint import save_model
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.text import TextTower, build_text
from tests.models.test_models import PREPROCESS, small_encoder

SENTENCES = [
    "the hook dissects the cystic duct", "Grasper RETRACTS the gallbladder", "", "naïve 手術 </s> <pad>",
    "cut the cystic duct " * 40,
]  # fmt: skip


def tiny_dual() -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(small_encoder(), build_text("tiny", 24, width=32, heads=2, layers=1), 24).eval()


def old_folder(dual: DualEncoder, folder: Path) -> Path:
    """A folder as it was written before there was a server."""
    save_model(dual, folder, PREPROCESS)
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "architectures": ["DualEncoder"]})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if dual.text.config["kind"] == "tiny":
            (folder / name).unlink(missing_ok=True)
    return folder


def other_towers(place: Path) -> Iterator[DualEncoder]:
    """Text towers whose tokenizer vLLM cannot run: a transformers encoder, and open_clip."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "hook", "cuts", "duct"]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(place / "bert")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained(place / "bert")
    yield DualEncoder(small_encoder(), build_text(f"hf:{place / 'bert'}", 24), 24).eval()
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    shape = {"model": "ViT-B-32", "model_cfg": {"embed_dim": 16, "text_cfg": text}, "context_length": 77}
    yield DualEncoder(small_encoder(), TextTower({"kind": "open_clip", "dim": 24, **shape}), 24).eval()
