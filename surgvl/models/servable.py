"""Checks a model folder without torch before a server starts an engine on it.

The engine, which builds the model, checks that the weights have the shapes of the configuration.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from surgvl.core.errors import CheckpointError
from surgvl.models.model_info import load_answers, load_preprocess, training_record
from surgvl.models.schema import ChatFields, DualFields, checked, read_checked
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess

SCHEMAS: dict[str, type[ChatFields] | type[DualFields]] = {"surgvl_chat": ChatFields, "surgvl_dual": DualFields}
# Per dtype: the integer type of its width and the mask of its exponent, whose bits are all set in infinity and NaN.
EXPONENTS = {
    "F64": ("<u8", 0x7FF << 52),
    "F32": ("<u4", 0xFF << 23),
    "F16": ("<u2", 0x1F << 10),
    "BF16": ("<u2", 0xFF << 7),
}
PART = 1 << 22


def check_servable(folder: Path) -> None:
    """Refuse a folder of a chat model or a video-text model that cannot be loaded.

    Raises:
        CheckpointError: a file is missing or damaged, a field is invalid, or a weight is not finite.
    """
    preprocess = load_preprocess(folder)
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    schema = SCHEMAS[config.pop("model_type")]
    if schema is DualFields:
        config.pop("architectures", None)
    encoder = checked(config, schema, folder / "config.json").encoder
    check_clips(encoder, preprocess, folder)
    load_answers(folder)
    training_record(folder)
    if bad := _not_finite(folder / "model.safetensors"):
        raise CheckpointError(
            f"{folder / 'model.safetensors'} holds NaN or infinity in {bad}: training diverged or the file is damaged; "
            "give other weights"
        )


def check_clips(encoder: ViTConfig, preprocess: Preprocess, folder: Path) -> None:
    """Compare the clip size of a folder's two configuration files.

    Raises:
        CheckpointError: they differ.
    """
    if (encoder.num_frames, encoder.size_px) != (preprocess.num_frames, preprocess.size_px):
        raise CheckpointError(
            f"{folder}: preprocessor_config.json gives clips of {preprocess.num_frames} frames of "
            f"{preprocess.size_px} px, config.json takes {encoder.num_frames} of {encoder.size_px}: export the model"
        )


def _not_finite(path: Path) -> str:
    """Name of the first tensor with NaN or infinity; empty if there is none.

    Raises:
        CheckpointError: it is not an intact safetensors file.
    """
    try:
        with safe_open(path, "np"), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(length))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): export the model again") from error
    content = np.memmap(path, np.uint8, "r", offset=8 + length)
    for name, entry in entries.items():
        if name == "__metadata__" or entry["dtype"] not in EXPONENTS:
            continue
        kind, mask = EXPONENTS[entry["dtype"]]
        begin, end = entry["data_offsets"]
        bits = content[begin:end].view(kind)
        if any(((bits[at : at + PART] & mask) == mask).any() for at in range(0, len(bits), PART)):
            return str(name)
    return ""
