"""Schemas of a model folder's JSON files: types and bounds, validated before anything is built from them.

Bounds are far above every published model and far below what a machine can hold, so a damaged or hostile folder leads
to a one-line error before memory is allocated. It imports no torch.
"""

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.models.vit_config import MAX_TABLE, ViTConfig
from surgvl.video.clip import Anchor, Crop, Rate, Side, Step

Width = Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
Layers = Annotated[int, Field(strict=True, ge=1, le=256)]
Heads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Length = Annotated[int, Field(strict=True, ge=1, le=1 << 20)]
# Counts in third-party configurations that build modules or tables, and their bounds.
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "layers", "num_attention_heads", "n_head", "heads")
BOUNDS = dict.fromkeys(LAYERS, 1024) | dict.fromkeys(
    ("hidden_size", "intermediate_size", "vocab_size", "n_embd"), 1 << 26
)
T = TypeVar("T")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class _Open(BaseModel):
    """Validates the fields that surgvl reads, and ignores those of other libraries."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class TextFields(_Open):
    """Arguments of `TextTower`: common ones, and those of each kind."""

    kind: Literal["tiny", "open_clip", "hf"]
    dim: Width
    context_length: Length
    width: Width = 1
    heads: Heads = 1
    layers: Layers = 1
    model: Annotated[str, Field(strict=True)] = ""
    pooling: Literal["mean", "cls"] = "mean"

    @model_validator(mode="after")
    def _check(self) -> Self:
        wanted = {"tiny": ("width", "heads", "layers"), "open_clip": ("model", "model_cfg"), "hf": ("hf_config",)}
        for name in wanted[self.kind]:
            if name not in (self.model_fields_set | set(self.model_extra or {})):
                raise ValueError(f"text of kind {self.kind} lacks {name}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        for name in ("model_cfg", "hf_config"):
            if name in (self.model_extra or {}):
                bounded((self.model_extra or {})[name])
        if self.context_length * self.width > MAX_TABLE:
            raise ValueError(f"context_length times width is more than {MAX_TABLE:,}")
        return self


class DualFields(_Strict):
    """`config.json` of a video-text model, and what the server adds to a prepared copy."""

    dim: Width
    encoder: ViTConfig
    text: TextFields
    text_ids: Literal["tokens", "bytes"] = "tokens"


class ProjectorFields(_Strict):
    """Arguments of `Projector`."""

    kind: Literal["grid", "mlp", "perceiver"] = "grid"
    grid: tuple[Side, Side, Side] = (2, 4, 4)
    num_queries: Side = 16
    depth: Layers = 2


class ChatFields(_Open):
    """`config.json` of a chat model; transformers adds fields of its own."""

    encoder: ViTConfig
    projector: ProjectorFields
    text_config: dict[str, Any]
    image_token_id: Annotated[int, Field(strict=True, ge=0, le=1 << 24)]
    video_token_id: Annotated[int, Field(strict=True, ge=0, le=1 << 24)]
    fps: Rate = 1.0
    crop: Crop = "none"
    anchor: Anchor = "centre"
    step_s: Step = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        bounded(self.text_config)
        return self


class AnswersFile(_Open):
    """`answers.json`: the closed answer set of a chat model, and its closed questions with their types."""

    answers: list[Annotated[str, Field(strict=True)]]
    questions: dict[str, Annotated[str, Field(strict=True)]] = {}
    end_id: Annotated[int, Field(strict=True, ge=0, le=1 << 24)] | None = None


class RunFile(_Open):
    """`run.json`, of which only the facts about training are read."""

    pretraining_video_ids: list[Annotated[str, Field(strict=True)]] = []
    frozen: Annotated[bool, Field(strict=True)] = False
    num_trainable: Annotated[int, Field(strict=True, ge=0)] = 0
    random_encoder: Annotated[bool, Field(strict=True)] = False


def bounded(config: Any) -> None:
    """Refuse a third-party configuration with implausible counts.

    Raises:
        ValueError: not an object, a number that is not finite or too large, or a count that is not a whole number.
    """
    if not isinstance(config, dict):
        raise ValueError(f"{str(config)[:40]!r} is not an object")
    for key, value in config.items():
        name = str(key)
        if isinstance(value, dict):
            bounded(value)
        counted = name.startswith(("num_", "n_")) or name.endswith(("_size", "_dim", "_length", "width", "heads"))
        # The ResNets of open_clip have blocks in four stages.
        counts = value if name == "layers" and isinstance(value, list) and len(value) == 4 else [value]
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in counts)
        if isinstance(value, int | float) and not abs(value) <= 1 << 40:
            raise ValueError(f"{name} {str(value)[:40]} is not finite or too large")
        if most := BOUNDS.get(name):
            if not whole or not all(1 <= each <= most for each in counts):
                raise ValueError(f"{name} {str(value)[:40]!r} is not a whole number from 1 to {most}")
        elif counted and (isinstance(value, str | list) or (whole and not -1 <= value <= 1 << 26)):
            raise ValueError(f"{name} {str(value)[:40]!r} is not a whole number up to {1 << 26}")


def read_checked(path: Path, schema: type[T]) -> T:
    """Read and validate a JSON file of a model folder.

    Raises:
        CheckpointError: it is missing or not JSON, or a field is invalid; the message names it.
    """
    try:
        value = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    return checked(value, schema, path)


def checked(value: Any, schema: type[T], path: Path | str) -> T:
    """Validate a value that was read from a JSON file.

    Args:
        value: the parsed JSON.
        schema: a pydantic model, or a dataclass with annotated bounds.
        path: the file, for messages.

    Raises:
        CheckpointError: a field of the wrong type or out of bounds.
    """
    try:
        # As JSON, because strict types take a list for a tuple only there. To mypy, a class cannot be hashed.
        valid: T = _adapter(schema).validate_json(json.dumps(value))  # type: ignore[arg-type]
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}: correct it, or export the model again") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        given = " ".join(str(first["input"])[:40].split())
        reason = first["msg"].removeprefix("Value error, ").removesuffix(".")
        raise CheckpointError(
            f"{path}: {place} is {given!r} ({reason}): correct it, or export the model again"
        ) from error
    return valid


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    # pydantic takes longer to read a schema than to validate by it.
    return TypeAdapter(schema)
