"""Published models of tiny size with random weights, in the files in which their authors publish such models."""

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from transformers import BertConfig, BertModel, BertTokenizer

from surgvl.models.adapters.open_clip import OpenClip
from surgvl.models.checkpoint import save_model

TINY = "tiny-clip"
TINY_CFG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


# The same with a ResNet, whose blocks are counted stage by stage.
TINY_RESNET = "tiny-resnet"
RESNET_CFG = {**TINY_CFG, "vision_cfg": {"image_size": 32, "layers": [1, 1, 2, 1], "width": 8, "patch_size": None}}


def tiny_clip(folder: Path, name: str = TINY, cfg: dict[str, Any] = TINY_CFG) -> Path:
    """A checkpoint of open_clip, and its architecture made known to open_clip under the name."""
    (folder / f"{name}.json").write_text(json.dumps(cfg))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained_text=False)
    weights = folder / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), weights)
    return weights


# The pieces of sentences of a surgeon, as BERT's vocabularies write them.
WORDS = [
    "the", "hook", "grasp", "##er", "##s", "dissect", "cuts", "gall", "##bladder", "cystic", "duct", "bleeding", "is",
    "naive", ".", ",", "a", "i", "x", "5",
]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def bert_vocabulary(folder: Path) -> int:
    """`vocab.txt`; its number of words."""
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS) + "\n", encoding="utf-8")
    return len(SPECIAL + WORDS)


def randomised(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Biases, norms and running statistics away from the 0 and 1 that they start with."""
    dice = torch.Generator().manual_seed(1)
    return {
        name: value + 0.1 * torch.rand(value.shape, generator=dice) if value.ndim == 1 else value
        for name, value in state.items()
    }


def surgvlp_weights(folder: Path, layers: int = 5, width: int = 64) -> Path:
    """SurgVLP's file with a narrow text tower, as transformers up to 4.30 wrote it, and `vocab.txt` next to it."""
    torch.manual_seed(0)
    image = resnet50().state_dict()
    embed = nn.Linear(2048, width).state_dict()
    words = bert_vocabulary(folder)
    config = BertConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=1, intermediate_size=48
    )
    text = randomised(BertModel(config).state_dict())
    state = {
        **{f"backbone_img.model.{k}": v for k, v in randomised(image).items() if not k.startswith("fc.")},
        **{f"backbone_img.global_embedder.{k}": v for k, v in embed.items()},
        **{f"backbone_text.model.{k}": v for k, v in text.items()},
        "backbone_text.model.embeddings.position_ids": torch.arange(512)[None],
    }
    weights = folder / "SurgVLP.pth"
    torch.save(state, weights)
    return weights


def surgclip_weights(folder: Path) -> tuple[Path, nn.Module]:
    """SurgCLIP's file at a reduced size, `vocab.txt` next to it, and the package's own model with the same weights."""
    surgclip = surgclip_package()
    words = bert_vocabulary(folder)
    text: dict[str, Any] = {"vocab_size": words, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    bert = BertModel(BertConfig(**text, intermediate_size=48), add_pooling_layer=False)
    bert.save_pretrained(folder / "bert")
    video = {"embed_dim": 64, "depth": 2, "num_heads": 1, "mlp_ratio": 2, "qkv_bias": "True", "drop_rate": 0.0}
    video |= {"attn_drop_rate": 0.0, "drop_path_rate": 0.1, "img_size": 48, "patch_size": 16}
    (folder / "video.json").write_text(json.dumps(video))
    config = surgclip.config.get_config("SurgCLIP-B")
    config.num_frames = 4
    tower, sentences = config.model.vision_encoder, config.model.text_encoder
    tower.config, tower.d_model = str(folder / "video.json"), 64
    sentences.config, sentences.pretrained, sentences.d_model = (
        str(folder / "bert" / "config.json"),
        folder / "bert",
        64,
    )
    config.model.embed_dim = 32
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # It leaves a file open.
        warnings.simplefilter("ignore", ResourceWarning)
        model: nn.Module = surgclip.model.SurgCLIP(config, tokenizer=None)
    state = {
        name: value + 0.1 * torch.randn(value.shape) if value.ndim else value
        for name, value in randomised(model.state_dict()).items()
    }
    model.load_state_dict(state)
    torch.save({**state, "text_encoder.embeddings.position_ids": torch.arange(512)[None]}, folder / "surgclip_beta.pth")
    model.eval()
    return folder / "surgclip_beta.pth", model


def surgclip_package() -> ModuleType:
    """The package `surgclip` without its copy of an old tokenizer, which does not import with transformers 5."""
    tokenizer = ModuleType("surgclip.bert_tokenizer")
    tokenizer.__dict__["BertTokenizer"] = BertTokenizer
    sys.modules.setdefault(tokenizer.__name__, tokenizer)
    import surgclip

    package: ModuleType = surgclip
    return package


def model_folder(place: Path) -> Path:
    """The model folder of such a checkpoint of open_clip."""
    folder = place / "model"
    folder.mkdir(parents=True)
    model, preprocess = OpenClip.convert(tiny_clip(place), place, {"arch": TINY}, folder)
    save_model(model, folder, preprocess)
    return folder
