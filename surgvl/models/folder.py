"""Model folders: `config.json`, `model.safetensors`, tokenizer files and `preprocessor_config.json`; never a pickle.

The file names are those of the transformers convention. A partial load is an error that lists what is missing.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from surgvl.errors import CheckpointError, ConfigError, DataError
from surgvl.io import atomic, file_hash, read_json, write_json
from surgvl.models.chat import Chat
from surgvl.models.dual import Dual
from surgvl.models.video_vit import VideoViT

Model = VideoViT | Dual | Chat
CROPS = ("none", "content")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a clip is cut from a video for a model.

    Args:
        num_frames: frames of a clip, T.
        fps: frames per second of video time.
        size_px: side of the square frames.
        crop: `none`, or `content` to cut black borders and to bound a round content area before resizing.
    """

    num_frames: int
    fps: float
    size_px: int
    crop: str = "none"

    def __post_init__(self) -> None:
        """Refuse what no clip can be.

        Raises:
            ConfigError: a count or rate that is not above 0, or an unknown crop.
        """
        for name in ("num_frames", "fps", "size_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} {getattr(self, name)} is not above 0: give a number above 0")
        if self.crop not in CROPS:
            raise ConfigError(f"crop {self.crop!r} is unknown; allowed are {', '.join(CROPS)}: choose one")

    @property
    def clip_s(self) -> float:
        """Length of a clip, seconds."""
        return self.num_frames / self.fps


def save_model(model: Model, folder: Path | str, preprocess: Preprocess) -> None:
    """Write a model folder; each file is renamed into place, the weights last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "config.json",
        {"model_type": model.model_type, "architectures": [type(model).__name__], **model.config},
    )
    write_json(folder / "preprocessor_config.json", asdict(preprocess))
    if isinstance(model, Dual):
        model.text.save_tokenizer(folder)
    if isinstance(model, Chat):
        model.tokenizer.save(folder)
    # Tied weights share memory, which safetensors refuses: keep the first name of each.
    weights: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            weights[name] = value.detach().cpu().contiguous()
    with atomic(folder / "model.safetensors") as path:
        save_file(weights, path, metadata={"format": "pt"})


def load_preprocess(folder: Path | str) -> Preprocess:
    """Read `preprocessor_config.json`."""
    values = read_json(Path(folder) / "preprocessor_config.json")
    try:
        return Preprocess(**values)
    except TypeError as error:
        raise CheckpointError(f"{folder}/preprocessor_config.json does not fit ({error}): export the model") from error


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
        model = Chat.from_config(config, folder)
    else:
        known = ", ".join(cls.model_type for cls in (VideoViT, Dual, Chat))
        raise CheckpointError(f"{folder}/config.json has model_type {kind!r}; known are {known}: give one of ours")
    load_weights(model, folder / "model.safetensors")
    try:
        model = model.to(device)
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


def find_model(folder: Path | str) -> Path:
    """The model folder itself, or `model/` inside a run folder.

    Raises:
        CheckpointError: neither holds a `config.json`.
    """
    folder = Path(folder)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    raise CheckpointError(f"{folder} holds no config.json, nor does its model/: give a model folder or a run folder")


def model_hash(folder: Path | str) -> str:
    """Hash of a model folder's configuration and weights, 16 hex digits."""
    folder = find_model(folder)
    parts = (file_hash(folder / name) for name in ("config.json", "preprocessor_config.json", "model.safetensors"))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
