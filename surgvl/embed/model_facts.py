"""What is known of a model from the files of its folder, before it is loaded; no torch is imported.

Shape: E width of the vectors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgvl.core.errors import CheckpointError
from surgvl.models.model_info import CHAT, find_model, load_preprocess, model_hash, training_record
from surgvl.models.schema import read_checked
from surgvl.video.clip import Preprocess

# `model_type` of the models that make vectors -> whether they read text.
KINDS = {"surgvl_dual": True, "surgvl_video_text": True, "surgvl_video_vit": False}


@dataclass(frozen=True)
class ModelFacts:
    """What vectors say of the model that made them.

    Attributes:
        name: folder or address.
        hash: of the model.
        dim: width E of the vectors.
        preprocess: how its clips are cut.
        trained: how it was trained, see `models.model_info.training_record`; empty where that is unknown.
    """

    name: str
    hash: str
    dim: int
    preprocess: Preprocess
    trained: dict[str, Any]


def model_facts(model: Path, stride_s: float | None) -> ModelFacts:
    """The facts of a model.

    Args:
        model: run folder, model folder or name.
        stride_s: seconds between vectors; by default, the model's step between clips.

    Raises:
        CheckpointError: there is no such model, or it makes no vectors.
    """
    folder, config = find_model(model), _config(model)
    preprocess = load_preprocess(folder).every(stride_s)
    # A published family has fields of its own, and states the width as the server reads it.
    dim = int(config["hidden_size" if "hidden_size" in config else "dim"])
    return ModelFacts(str(folder.resolve()), model_hash(folder), dim, preprocess, training_record(model))


def reads_text(model: Path) -> bool:
    """Whether a model has a text tower.

    Raises:
        CheckpointError: there is no such model, or it makes no vectors.
    """
    return KINDS[_config(model)["model_type"]]


def _config(model: Path) -> dict[str, Any]:
    path = find_model(model) / "config.json"
    config: dict[str, Any] = read_checked(path, dict[str, Any])
    kind = str(config.get("model_type"))
    if kind == CHAT:
        raise CheckpointError(f"{model} holds a chat model, which has no vectors: give an align or pretrain run folder")
    if kind not in KINDS:
        raise CheckpointError(f"{path}: model_type must be one of {', '.join(KINDS)}, got {kind[:40]!r}: give another")
    return config
