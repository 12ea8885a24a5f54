"""Weights files and the configuration next to them; no code in them is run.

Pickles are read with `weights_only=True`, which admits tensors and plain values but no code; safetensors are
memory-mapped.
"""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from surgvl.core.errors import CheckpointError, DataError, first_line
from surgvl.core.files import read_json
from surgvl.models.foreign import foreign
from surgvl.models.schema import bounded, read_checked

PICKLES = (".pt", ".pth", ".bin", ".tar")
FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Hints:
    """Facts about an encoder from the configuration next to a weights file; None where it has none.

    Args:
        heads: attention heads.
        eps: of the layer norms.
        size_px: side of the frames.
        num_frames: frames of a clip.
        mean: channel means of the input in [0, 1].
        std: channel standard deviations of the input in [0, 1].
    """

    heads: int | None = None
    eps: float | None = None
    size_px: int | None = None
    num_frames: int | None = None
    mean: RGB | None = None
    std: RGB | None = None


def read_weights(path: Path) -> Mapping[str, Any]:
    """The contents of a weights file or transformers folder, tensors on the CPU.

    Raises:
        CheckpointError: it is missing or damaged, or a pickle that holds more than tensors.
    """
    if path.is_dir():
        file = next((path / name for name in FILES if (path / name).is_file()), None)
        if file is None:
            raise CheckpointError(f"{path} holds none of {', '.join(FILES)}: give a model folder or a weights file")
        path = file
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: give a file, a folder, or hf:OWNER/NAME for the hub")
    try:
        if path.name.endswith(".index.json"):
            files = sorted({Path(str(name)).name for name in read_json(path)["weight_map"].values()})
            return {name: value for file in files for name, value in load_file(path.with_name(file)).items()}
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix not in PICKLES:
            raise CheckpointError(
                f"{path} is not a weights file: give one that ends in .safetensors, {', '.join(PICKLES)}"
            )
        # The authors' training scripts store their arguments next to the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            raw = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        held = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({held[1] if held else 'no state dict'}), and code in a "
            "file is never run: save only its state dict"
        ) from error
    except (SafetensorError, DataError, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({first_line(error)}): download it again") from error
    if not isinstance(raw, Mapping):
        raise CheckpointError(f"{path} holds a {type(raw).__name__}: give a checkpoint with a state dict")
    return raw


def hints_of(folder: Path) -> Hints:
    """Read `config.json` and the preprocessor's file of a transformers folder.

    Raises:
        CheckpointError: the configuration is of a different kind of model, or its activation is not GELU.
    """
    if not (folder / "config.json").is_file():
        return Hints()
    from transformers import AutoConfig

    kind = read_checked(folder / "config.json", dict[str, Any]).get("model_type")
    if kind not in ("videomae", "vjepa2"):
        raise CheckpointError(
            f"{folder}/config.json: model_type must be videomae or vjepa2, got {kind!r}: give the weights file"
        )
    with foreign(f"{folder}/config.json cannot be read", "correct it, or download the model again"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        bounded(config.to_dict())
    if config.hidden_act != "gelu":
        raise CheckpointError(f"{folder}: the activation must be gelu, got {config.hidden_act!r}: give another model")
    size_px = config.image_size if kind == "videomae" else config.crop_size
    if not isinstance(size_px, int):
        size_px = size_px[0]
    mean = std = None
    for name in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if mean is None and (folder / name).is_file():
            values = read_checked(folder / name, dict[str, Any])
            mean, std = values.get("image_mean"), values.get("image_std")
    return Hints(
        heads=config.num_attention_heads,
        eps=config.layer_norm_eps,
        size_px=size_px,
        num_frames=config.num_frames if kind == "videomae" else config.frames_per_clip,
        mean=None if mean is None else (mean[0], mean[1], mean[2]),
        std=None if std is None else (std[0], std[1], std[2]),
    )
