"""What a model folder says without building the model: preprocessing, training data, hash, and whether it is sound.

It imports no torch, so commands that only pass folders on start at once.
Shape: E width of the vectors.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from surgvl.core.errors import CheckpointError
from surgvl.core.files import known_hash
from surgvl.models.named import find_named
from surgvl.models.published_training import published_training
from surgvl.models.schema import AnswersFile, ChatFields, DualFields, RunFile, checked, read_checked
from surgvl.models.store import stored_hub
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess

# `model_type` of a chat model; the class that has it imports transformers.
CHAT = "surgvl_chat"
SCHEMAS: dict[str, type[ChatFields] | type[DualFields]] = {CHAT: ChatFields, "surgvl_dual": DualFields}
# Per dtype: the integer type of its width and the mask of its exponent, whose bits are all set in infinity and NaN.
EXPONENTS = {
    "F64": ("<u8", 0x7FF << 52),
    "F32": ("<u4", 0xFF << 23),
    "F16": ("<u2", 0x1F << 10),
    "BF16": ("<u2", 0xFF << 7),
}
# `model_type` of the models that make vectors -> whether they read text.
VECTOR_KINDS = {"surgvl_dual": True, "surgvl_video_text": True, "surgvl_video_vit": False}
PART = 1 << 22
# Model folder of the model that a trained pooling is for, within that one's (`models.adapters.temporal`).
BASE = "base"
# Folder of a model of transformers within a model folder (`surgvl.models.tower`).
TOWER = "tower"


@dataclass(frozen=True)
class ModelFacts:
    """What vectors say of the model that made them.

    Attributes:
        name: folder or address.
        hash: of the model.
        dim: width E of the vectors.
        preprocess: how its clips are cut.
        trained: how it was trained, see `training_record`; empty where that is unknown.
    """

    name: str
    hash: str
    dim: int
    preprocess: Preprocess
    trained: dict[str, Any]


def load_preprocess(folder: Path | str) -> Preprocess:
    """Read `preprocessor_config.json`.

    Raises:
        CheckpointError: it is missing, or a field is invalid.
    """
    return read_checked(Path(folder) / "preprocessor_config.json", Preprocess)


def load_answers(folder: Path | str) -> AnswersFile:
    """Read `answers.json` of a model folder or run folder; no answers where there is none.

    Raises:
        CheckpointError: a field is invalid.
    """
    path = find_model(folder) / "answers.json"
    return read_checked(path, AnswersFile) if path.is_file() else AnswersFile(answers=[])


def resolve_model(name: str | Path) -> Path:
    """The path of a model: a folder or name as given, or the folder of an id of the Hugging Face hub.

    Raises:
        CheckpointError: neither exists; the message says how to fetch it.
    """
    path, text = Path(name), str(name)
    if "\0" in text:
        raise CheckpointError(f"{text!r} holds a NUL character, which no path can: correct it")
    if path.exists() or ":" in text or text.count("/") != 1:
        return path
    try:
        return stored_hub(text)
    except CheckpointError as error:
        raise CheckpointError(f"{text} is not a folder, and {error}") from error


def find_model(folder: Path | str) -> Path:
    """The model folder: the folder itself, `model/` in a run folder, or that of a name (see `models.named`).

    Raises:
        CheckpointError: neither holds a `config.json`.
    """
    if "\0" in str(folder):
        raise CheckpointError(f"{str(folder)!r} holds a NUL character, which no path can: correct it")
    folder = Path(folder)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    if (known := find_named(str(folder))) is not None:
        return known
    raise CheckpointError(f"{folder} holds no config.json, nor does its model/: give a model folder or a run folder")


def model_hash(folder: Path | str) -> str:
    """SHA-256 of a model folder's configuration and weights, 16 hex digits."""
    folder = find_model(folder)
    own = [folder / name for name in ("config.json", "preprocessor_config.json")]
    tower = sorted(path for path in (folder / TOWER).glob("*") if path.is_file())
    parts = list(map(known_hash, own + (tower or [folder / "model.safetensors"])))
    if (folder / BASE).is_dir():
        parts.append(model_hash(folder / BASE))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def model_facts(model: Path, stride_s: float | None) -> ModelFacts:
    """The facts of a model.

    Args:
        model: run folder, model folder or name.
        stride_s: seconds between vectors; by default, the model's step between clips.

    Raises:
        CheckpointError: there is no such model, or it makes no vectors.
    """
    folder, config = find_model(model), _vector_config(model)
    preprocess = load_preprocess(folder).every(stride_s)
    # A published family has fields of its own, and states the width as the server reads it.
    dim = int(config["hidden_size" if "hidden_size" in config else "dim"])
    return ModelFacts(str(folder.resolve()), model_hash(folder), dim, preprocess, training_record(model))


def reads_text(model: Path) -> bool:
    """Whether a model has a text tower.

    Raises:
        CheckpointError: there is no such model, or it makes no vectors.
    """
    return VECTOR_KINDS[_vector_config(model)["model_type"]]


def _vector_config(model: Path) -> dict[str, Any]:
    path = find_model(model) / "config.json"
    config: dict[str, Any] = read_checked(path, dict[str, Any])
    kind = str(config.get("model_type"))
    if kind == CHAT:
        raise CheckpointError(f"{model} holds a chat model, which has no vectors: give an align or pretrain run folder")
    if kind not in VECTOR_KINDS:
        raise CheckpointError(
            f"{path}: model_type must be one of {', '.join(VECTOR_KINDS)}, got {kind[:40]!r}: give another"
        )
    return config


def weight_files(folder: Path) -> list[Path]:
    """The files with a model folder's weights."""
    return sorted((folder / TOWER).glob("*.safetensors")) or [folder / "model.safetensors"]


def logit_scale(folder: Path | str) -> float:
    """Factor of a video-text model's cosines before the softmax, from its files.

    Raises:
        CheckpointError: it is not a video-text model, or a file cannot be read.
    """
    folder = find_model(folder)
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    # A family whose weights have none states it there.
    if isinstance(log := config.get("logit_scale"), float | int):
        return math.exp(log)
    for path in weight_files(folder):
        try:
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118 (no mapping)
                    if name.rpartition(".")[2] == "logit_scale":
                        return math.exp(file.get_tensor(name).item())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}): export the model again") from error
    raise CheckpointError(f"{folder} has no logit_scale: give a video-text model, or make its folder again")


def training_record(folder: Path) -> dict[str, Any]:
    """How a folder's model was trained, from `run.json` or, of published models, from the registry.

    Returns:
        `pretraining_video_ids`: ids of all videos it was trained on, `frozen`: whether its encoder was frozen,
        `num_trainable`: the number of trained parameters, and `random_encoder`: whether that encoder began with random
        weights instead of pretrained ones. Without a `run.json`, the ids alone, which are `unknown:*` where nothing is
        known (`surgvl.core.operations`).

    Raises:
        CheckpointError: a field is invalid.
    """
    if not folder.exists():
        folder = find_named(str(folder)) or folder
    folder = folder.resolve()
    for record in (folder / "run.json", folder.parent / "run.json"):
        if record.is_file():
            return read_checked(record, RunFile).model_dump(include=set(RunFile.model_fields))
    return published_training(folder)


def pretraining_video_ids(folder: Path) -> list[str]:
    """Ids of the videos that a folder's model was trained on; see `training_record`."""
    return list(training_record(folder)["pretraining_video_ids"])


def check_servable(folder: Path) -> None:
    """Refuse a folder of a chat model or a video-text model that cannot be loaded.

    Raises:
        CheckpointError: a file is missing or damaged, a field is invalid, or a weight is not finite.
    """
    preprocess = load_preprocess(folder)
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    # A published family reads its own fields.
    if (schema := SCHEMAS.get(config.pop("model_type"))) is not None:
        if schema is DualFields:
            config.pop("architectures", None)
        check_clips(checked(config, schema, folder / "config.json").encoder, preprocess, folder)
    load_answers(folder)
    training_record(folder)
    for path in weight_files(folder):
        if bad := _not_finite(path):
            raise CheckpointError(
                f"{path} holds NaN or infinity in {bad}: training diverged or the file is damaged; give other weights"
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
