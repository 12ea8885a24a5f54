"""Model folders: `config.json`, `model.safetensors`, tokenizer files and `preprocessor_config.json`; never a pickle.

The file names are those of the transformers convention. A partial load is an error that lists what is missing.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from surgvl.errors import CheckpointError, ConfigError, DataError
from surgvl.io import atomic, read_json, write_json
from surgvl.models.chat import Chat
from surgvl.models.config import SurgVLConfig
from surgvl.models.dual import Dual
from surgvl.models.files import CROPS, Preprocess, find_model, load_preprocess, local, model_hash
from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer
from surgvl.models.tokenizer_files import sentence_tokenizer
from surgvl.models.video_vit import VideoViT

__all__ = [
    "CROPS",
    "Model",
    "Preprocess",
    "find_model",
    "load_model",
    "load_preprocess",
    "load_weights",
    "local",
    "model_hash",
    "save_model",
]
Model = VideoViT | Dual | Chat


def save_model(model: Model, folder: Path | str, preprocess: Preprocess) -> None:
    """Write a model folder; each file is renamed into place, the weights last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = model.config.to_dict() if isinstance(model, Chat) else model.config
    write_json(folder / "config.json", {**own, "model_type": model.model_type, "architectures": [model.architecture]})
    write_json(folder / "preprocessor_config.json", asdict(preprocess))
    if isinstance(model, Dual):
        model.text.save_tokenizer(folder)
        if isinstance(model.text.tokenizer, SentencePieceTokenizer):
            # The same for vLLM, which reads this format.
            sentence_tokenizer(folder / "tokenizer.spm").save_pretrained(folder)
    if isinstance(model, Chat):
        model.ready.save_pretrained(folder)
    # Tied weights share memory, which safetensors refuses: keep the first name of each.
    weights: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            weights[name] = value.detach().cpu().contiguous()
    with atomic(folder / "model.safetensors") as path:
        save_file(weights, path, metadata={"format": "pt"})


def load_model(folder: Path | str, device: str = "cpu") -> tuple[Model, Preprocess]:
    """Build the model that a folder holds, in evaluation mode.

    Args:
        folder: a model folder, or a run folder that has one in `model/`.
        device: torch device.

    Raises:
        CheckpointError: not a model folder, an unknown `model_type`, or weights that do not fit to the letter.
        ConfigError: the device is not here.
    """
    folder = find_model(folder)
    try:
        config: dict[str, Any] = read_json(folder / "config.json")
    except DataError as error:
        raise CheckpointError(str(error)) from error
    kind = config.pop("model_type", None)
    config.pop("architectures", None)
    if kind == VideoViT.model_type:
        model: Model = VideoViT(**config)
    elif kind == Dual.model_type:
        model = Dual.from_config(config, folder)
    elif kind == Chat.model_type:
        if "projector" not in config:
            raise CheckpointError(f"{folder} was written before chat models had a processor: tune the model again")
        model = Chat(SurgVLConfig(**config))
        model.attach(HuggingFaceTokenizer(str(folder)).inner)
    else:
        known = ", ".join(cls.model_type for cls in (VideoViT, Dual, Chat))
        raise CheckpointError(f"{folder}/config.json has model_type {kind!r}; known are {known}: give one of ours")
    load_weights(model, folder / "model.safetensors")
    try:
        torch.nn.Module.to(model, device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"device {device!r} cannot be used ({first}): give cpu, or a device that is here") from error
    return model.eval(), load_preprocess(folder)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Copy a safetensors file into a model, strictly; names tied to one that is there may be absent."""
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): export the model again") from error
    own = model.state_dict()
    held = {own[name].data_ptr() for name in weights if name in own}
    missing = sorted(name for name in own if name not in weights and own[name].data_ptr() not in held)
    extra = sorted(set(weights) - set(own))
    shapes = [
        f"{n} {tuple(v.shape)} for {tuple(own[n].shape)}"
        for n, v in weights.items()
        if n in own and own[n].shape != v.shape
    ]
    if missing or extra or shapes:
        raise CheckpointError(
            f"{path} does not fit: missing {missing[:3]}, unknown {extra[:3]}, shapes {shapes[:3]} "
            f"({len(missing)}, {len(extra)}, {len(shapes)} in all): give the weights of this config.json"
        )
    model.load_state_dict(weights, strict=False)
