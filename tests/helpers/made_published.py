"""Published models of tiny size with random weights, in the files in which their authors publish such models."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch

TINY = "tiny-clip"
TINY_CFG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def tiny_clip(folder: Path, name: str = TINY) -> Path:
    """A checkpoint of open_clip, and its architecture made known to open_clip under the name."""
    (folder / f"{name}.json").write_text(json.dumps(TINY_CFG))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained_text=False)
    weights = folder / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), weights)
    return weights
