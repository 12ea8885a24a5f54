"""Model folders: `config.json`, `model.safetensors`, tokenizer files and `preprocessor_config.json`; never a pickle.

The file names are those of the transformers convention. A partial load is an error that lists what is missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import atomic, write_json
from surgvl.models.chat import Chat
from surgvl.models.config import SurgVLConfig
from surgvl.models.dual import Dual
from surgvl.models.foreign import check_finite, foreign
from surgvl.models.model_info import find_model, load_preprocess, local, model_hash
from surgvl.models.schema import ChatFields, DualFields, EncoderFields, checked, read_checked
from surgvl.models.servable import check_clips
from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer
from surgvl.models.tokenizer_files import sentence_tokenizer
from surgvl.models.vit import VideoViT
from surgvl.video.clip import Preprocess

__all__ = [
    "Model",
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
    preprocess = load_preprocess(folder)
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    kind = config.pop("model_type", None)
    build = _builder(kind, config, folder, preprocess)
    weights = folder / "model.safetensors"
    # On no device: a skeleton without numbers, so that weights of another shape are refused before memory is taken.
    with torch.device("meta"):
        check_fit(build(), header(weights), weights)
    model = build()
    load_weights(model, weights)
    try:
        torch.nn.Module.to(model, device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"device {device!r} cannot be used ({first}): give cpu, or a device that is here") from error
    return model.eval(), preprocess


def _builder(kind: Any, config: dict[str, Any], folder: Path, preprocess: Preprocess) -> Callable[[], Model]:
    """What builds the untrained model that a checked `config.json` describes.

    Raises:
        CheckpointError: an unknown `model_type`, a field that is not what it should be, or clips of another size than
            the preprocessor's.
    """
    path = folder / "config.json"
    if kind == Chat.model_type and "projector" not in config:
        raise CheckpointError(f"{folder} was written before chat models had a processor: tune the model again")
    if kind not in (VideoViT.model_type, Dual.model_type, Chat.model_type):
        known = ", ".join(cls.model_type for cls in (VideoViT, Dual, Chat))
        raise CheckpointError(f"{path} has model_type {str(kind)[:40]!r}; known are {known}: give one of ours")
    if kind == Chat.model_type:
        encoder = checked(config, ChatFields, path).encoder
    else:
        config.pop("architectures", None)
        if kind == Dual.model_type:
            encoder = checked(config, DualFields, path).encoder
        else:
            encoder = checked(config, EncoderFields, path)
    check_clips(encoder, preprocess, folder)

    def build() -> Model:
        if kind == VideoViT.model_type:
            return VideoViT(**config)
        with foreign(f"{path} describes no model that can be built"):
            if kind == Dual.model_type:
                return Dual.from_config(config, folder)
            chat = Chat(SurgVLConfig(**config))
            chat.attach(HuggingFaceTokenizer(str(folder)).inner)
            return chat

    return build


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, without its numbers.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): export the model again") from error


def check_fit(model: torch.nn.Module, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Compare names and shapes strictly; names tied to one that is there may be absent.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape differs.
    """
    # The parameters themselves: tied ones are one object, on a device without memory too.
    own = model.state_dict(keep_vars=True)
    held = {id(own[name]) for name in shapes if name in own}
    missing = sorted(name for name, value in own.items() if name not in shapes and id(value) not in held)
    extra = sorted(set(shapes) - set(own))
    odd = [f"{n} {s} for {tuple(own[n].shape)}" for n, s in shapes.items() if n in own and tuple(own[n].shape) != s]
    if missing or extra or odd:
        raise CheckpointError(
            f"{path} does not fit: missing {missing[:3]}, unknown {extra[:3]}, shapes {odd[:3]} "
            f"({len(missing)}, {len(extra)}, {len(odd)} in all): give the weights of this config.json"
        )


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Copy a safetensors file into a model, strictly; see `check_fit`.

    Raises:
        CheckpointError: it cannot be read, does not fit, or holds numbers that are not finite.
    """
    shapes = header(path)
    check_fit(model, shapes, path)
    weights = load_file(path)
    check_finite(weights, path)
    model.load_state_dict(weights, strict=False)
