"""Model folders: `config.json`, `model.safetensors`, tokenizer files and `preprocessor_config.json`; never a pickle.

File names follow the transformers convention. A partial load is an error that lists what is missing.
Shapes: T frames that a model takes, S their side in pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from surgvl.core.errors import CheckpointError
from surgvl.core.files import atomic, write_json
from surgvl.models.build_published import build_published
from surgvl.models.device import place
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.foreign import check_finite, foreign
from surgvl.models.model_info import CHAT, check_clips, find_model, load_preprocess, model_hash
from surgvl.models.schema import ChatFields, DualFields, checked, read_checked
from surgvl.models.shapes import shapes_only, undrawn
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess, VideoLike, extract_clip

if TYPE_CHECKING:
    from surgvl.models.chat import Chat

Model: TypeAlias = "VideoViT | VideoText | Chat"


def save_model(model: Model, folder: Path | str, preprocess: Preprocess, has_weights: bool = False) -> None:
    """Write a model folder; every file is renamed into place, the weights last.

    Args:
        model: of ours, or of a published family.
        folder: its folder.
        preprocess: how its clips are cut.
        has_weights: whether the folder has them already, as links to published files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = model.config if isinstance(model, VideoText) else model.config.to_dict()
    if isinstance(model, VideoText) and model.name:
        own |= {"family": model.name, "hidden_size": model.dim}
    write_json(folder / "config.json", {**own, "model_type": model.model_type, "architectures": [model.architecture]})
    write_json(folder / "preprocessor_config.json", asdict(preprocess))
    if isinstance(model, VideoText):
        model.save_tokenizer(folder)
    elif not isinstance(model, VideoViT):
        model.ready.save_pretrained(folder)
    if has_weights:
        return
    if isinstance(model, VideoText) and model.in_tower:
        model.save_tower(folder)
        return
    # safetensors refuses tied weights, which share memory: keep the first name of each.
    weights: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in (model.saved if isinstance(model, VideoText) else model).state_dict().items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            weights[name] = value.detach().cpu().contiguous()
    with atomic(folder / "model.safetensors") as path:
        save_file(weights, path, metadata={"format": "pt"})


def load_model(folder: Path | str, device: str = "cpu") -> tuple[Model, Preprocess]:
    """Load the model of a folder, in evaluation mode.

    Args:
        folder: a model folder, or a run folder that has one in `model/`.
        device: torch device.

    Raises:
        CheckpointError: not a model folder, an unknown `model_type`, or weights that do not fit exactly.
        ConfigError: the device is not available.
    """
    folder = find_model(folder)
    preprocess = load_preprocess(folder)
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    kind = config.pop("model_type", None)
    weights = folder / "model.safetensors"
    model: Model
    if kind == VideoText.model_type:
        model = build_published(folder)
        if not model.in_tower:
            load_weights(model.saved, weights)
    else:
        build = _builder(kind, config, folder, preprocess)
        # So that weights of other shapes are refused before memory is allocated.
        with shapes_only():
            check_fit(build(), header(weights), weights)
        with undrawn():
            model = build()
        load_weights(model, weights)
    return place(model, device), preprocess


def video_encoder(model: Model, name: Path | str) -> VideoViT:
    """The video encoder of a model.

    Args:
        model: of ours.
        name: of the model, for the message.

    Raises:
        CheckpointError: it is a published model, which has none of ours.
    """
    if isinstance(model, VideoViT):
        return model
    if isinstance(model, VideoText) and not isinstance(model, DualEncoder):
        raise CheckpointError(
            f"{name} is a published {model.name} model, without a video encoder of surgvl: give a run folder of "
            "`surgvl pretrain`"
        )
    encoder: VideoViT = model.encoder
    return encoder


def _builder(kind: Any, config: dict[str, Any], folder: Path, preprocess: Preprocess) -> Callable[[], Model]:
    """A function that builds the untrained model of a validated `config.json`.

    Raises:
        CheckpointError: an unknown `model_type`, an invalid field, or clips of another size than the preprocessor's.
    """
    path = folder / "config.json"
    if kind == CHAT and "projector" not in config:
        raise CheckpointError(f"{folder} predates the processor of chat models: tune the model again")
    if kind not in (VideoViT.model_type, DualEncoder.model_type, CHAT):
        known = ", ".join((VideoViT.model_type, DualEncoder.model_type, VideoText.model_type, CHAT))
        raise CheckpointError(f"{path}: model_type must be one of {known}, got {str(kind)[:40]!r}: give a surgvl model")
    if kind == CHAT:
        encoder = checked(config, ChatFields, path).encoder
    else:
        config.pop("architectures", None)
        if kind == DualEncoder.model_type:
            encoder = checked(config, DualFields, path).encoder
        else:
            encoder = checked(config, ViTConfig, path)
    check_clips(encoder, preprocess, folder)

    @cache
    def tokenizer() -> Any:
        # Read once, because the model is built twice.
        from surgvl.models.tokenizer import HuggingFaceTokenizer

        return HuggingFaceTokenizer(str(folder)).inner

    def build() -> Model:
        if kind == VideoViT.model_type:
            return VideoViT(encoder)
        with foreign(f"{path} describes a model that cannot be built"):
            if kind == DualEncoder.model_type:
                return DualEncoder.from_config(config, folder)
            # transformers takes seconds to import.
            from surgvl.models.chat import Chat
            from surgvl.models.config import SurgVLConfig

            chat = Chat(SurgVLConfig(**config))
            chat.attach(tokenizer())
            return chat

    return build


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, without reading its tensors.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): export the model again") from error


def check_fit(
    model: torch.nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
    remedy: str = "give the weights of this config.json",
) -> None:
    """Compare names and shapes strictly, but for scalars and vectors of one, which fit one another.

    A name tied to one in the file may be absent.

    Args:
        model: that is to have the weights.
        shapes: of the weights in the file, by name.
        path: the file, for the message.
        remedy: for the message.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape differs.
    """
    # keep_vars: tied parameters are one object, on the meta device as well.
    own = model.state_dict(keep_vars=True)
    held = {id(own[name]) for name in shapes if name in own}
    missing = sorted(name for name, value in own.items() if name not in shapes and id(value) not in held)
    extra = sorted(set(shapes) - set(own))
    odd = [
        f"{n} {s} for {tuple(own[n].shape)}"
        for n, s in shapes.items()
        if n in own and (tuple(own[n].shape) or (1,)) != (s or (1,))
    ]
    if missing or extra or odd:
        raise CheckpointError(
            f"{path} does not fit: missing {missing[:3]}, unknown {extra[:3]}, shapes {odd[:3]} "
            f"({len(missing)}, {len(extra)} and {len(odd)} in all): {remedy}"
        )


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Copy a safetensors file into a model, strictly; see `check_fit`.

    Raises:
        CheckpointError: it cannot be read, does not fit, or holds NaN or infinity.
    """
    shapes = header(path)
    check_fit(model, shapes, path)
    weights = load_file(path)
    check_finite(weights, path)
    # torch reads vectors of one into scalars, but no scalars into vectors of one.
    vectors = {name: value[None] if value.ndim == 0 else value for name, value in weights.items()}
    model.load_state_dict(vectors, strict=False)


class LoadedModel:
    """A model with its preprocessing.

    Args:
        model: in evaluation mode.
        preprocess: how clips are cut.
        folder: where it came from.
        device: torch device.
    """

    def __init__(self, model: Model, preprocess: Preprocess, folder: Path, device: str):
        self.model, self.preprocess, self.folder, self.device = model, preprocess, folder, device

    @property
    def hash(self) -> str:
        """Hash of the folder's configuration and weights."""
        return model_hash(self.folder)

    def frames(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.uint8]:
        """One clip as the model takes it, uint8 [T, S, S, 3].

        Args:
            source: a path; or frames uint8 [T, H, W, 3], resampled in time and size.
            at_s: centre of the clip in a file, seconds; the middle of the file by default.

        Raises:
            DataError: the array is not frames, or the file cannot be read there.
        """
        return extract_clip(source, self.preprocess, at_s)

    def clip(self, source: VideoLike, at_s: float | None = None) -> torch.Tensor:
        """The same clip as a batch of one on the model's device, uint8 [1, 3, T, S, S]."""
        return self.batch([self.frames(source, at_s)])

    def batch(self, clips: list[NDArray[np.uint8]]) -> torch.Tensor:
        """B clips as `frames` cuts them, on the model's device, uint8 [B, 3, T, S, S]."""
        return torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).to(self.device)
