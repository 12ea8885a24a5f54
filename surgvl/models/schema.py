"""What the JSON files of a model folder may say: types and bounds, checked before anything is built from them.

Bounds are far above every published model and far below what a machine can hold, so that a damaged or hostile folder
costs one line and no memory. Nothing here imports torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from surgvl.core.errors import CheckpointError, DataError
from surgvl.core.files import read_json
from surgvl.video.clip import Crop, Rate, Side

Width = Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
Layers = Annotated[int, Field(strict=True, ge=1, le=256)]
Heads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Length = Annotated[int, Field(strict=True, ge=1, le=1 << 20)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Moment = Annotated[float, Field(strict=True, ge=-1000, le=1000, allow_inf_nan=False)]
Deviation = Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)]
# Numbers of the largest table of positions, tokens times width: 1 GiB in float32.
MAX_TABLE = 1 << 28
# Counts of foreign models and their bounds; each builds modules or tables.
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "layers", "num_attention_heads", "n_head", "heads")
SIZES = dict.fromkeys(LAYERS, 1024) | dict.fromkeys(
    ("hidden_size", "intermediate_size", "vocab_size", "n_embd"), 1 << 26
)
T = TypeVar("T")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class _Open(BaseModel):
    """Fields that are looked at, and others that are left to whose file it is."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class EncoderFields(_Strict):
    """Arguments of `VideoViT`; what is left out has its default there."""

    size_px: Side = 224
    num_frames: Side = 16
    patch_px: Side = 16
    tubelet: Side = 2
    dim: Annotated[int, Field(strict=True, ge=2, le=1 << 14)] = 768
    depth: Layers = 12
    heads: Heads = 12
    mlp_ratio: Annotated[float, Field(strict=True, gt=0, le=64)] = 4.0
    position: Literal["sinusoid", "sincos_3d", "vjepa", "rope"] = "sinusoid"
    qkv_bias: Literal["full", "no_key", "none"] = "full"
    eps: Annotated[float, Field(strict=True, gt=0, le=1)] = 1e-6
    drop_path: Share = 0.0
    checkpoint: Annotated[bool, Field(strict=True)] = False
    mean: tuple[Moment, Moment, Moment] = (0.0, 0.0, 0.0)
    std: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)
    final_norm: Annotated[bool, Field(strict=True)] = True
    table_grid: tuple[Side, Side, Side] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, whole, part in (
            ("size_px", self.size_px, self.patch_px),
            ("num_frames", self.num_frames, self.tubelet),
            ("dim", self.dim, 2 * self.heads),
        ):
            if whole % part:
                raise ValueError(f"{name} {whole} is not a multiple of {part}")
        grids = [(self.num_frames // self.tubelet, *(self.size_px // self.patch_px,) * 2), self.table_grid or (1, 1, 1)]
        if max(t * h * w for t, h, w in grids) * self.dim > MAX_TABLE:
            raise ValueError(f"tokens times width are more than {MAX_TABLE:,}")
        return self


class TextFields(_Open):
    """Arguments of `TextTower`: those of every kind, and each kind's own."""

    kind: Literal["tiny", "open_clip", "hf"]
    dim: Width
    context_length: Length
    width: Width = 1
    heads: Heads = 1
    layers: Layers = 1
    model: Annotated[str, Field(strict=True)] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        wanted = {"tiny": ("width", "heads", "layers"), "open_clip": ("model", "model_cfg"), "hf": ("hf_config",)}
        for name in wanted[self.kind]:
            if name not in (self.model_fields_set | set(self.model_extra or {})):
                raise ValueError(f"text of the kind {self.kind} lacks {name}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        for name in ("model_cfg", "hf_config"):
            if name in (self.model_extra or {}):
                bounded((self.model_extra or {})[name])
        if self.context_length * self.width > MAX_TABLE:
            raise ValueError(f"context_length times width is more than {MAX_TABLE:,}")
        return self


class DualFields(_Strict):
    """`config.json` of a video-text model. What the server adds to a prepared copy may stand there."""

    dim: Width
    encoder: EncoderFields
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

    encoder: EncoderFields
    projector: ProjectorFields
    text_config: dict[str, Any]
    image_token_id: Annotated[int, Field(strict=True, ge=0, le=1 << 24)]
    video_token_id: Annotated[int, Field(strict=True, ge=0, le=1 << 24)]
    fps: Rate = 1.0
    crop: Crop = "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        bounded(self.text_config)
        return self


class AnswersFile(_Open):
    """`answers.json`: the closed answers that a chat model was tuned on, and its closed questions with their types."""

    answers: list[Annotated[str, Field(strict=True)]]
    questions: dict[str, Annotated[str, Field(strict=True)]] = {}
    end_id: Annotated[int, Field(strict=True, ge=0, le=1 << 24)] | None = None


class RunFile(_Open):
    """`run.json`, of which only what tells of the training is looked at."""

    pretraining_video_ids: list[Annotated[str, Field(strict=True)]] = []
    frozen: Annotated[bool, Field(strict=True)] = False
    num_trainable: Annotated[int, Field(strict=True, ge=0)] = 0


def bounded(config: Any) -> None:
    """Refuse a foreign model's configuration whose counts no model has.

    Raises:
        ValueError: not an object, a number that is not finite or too large, or a count that is not one.
    """
    if not isinstance(config, dict):
        raise ValueError(f"{str(config)[:40]!r} is not an object with a model's sizes")
    for key, value in config.items():
        name = str(key)
        if isinstance(value, dict):
            bounded(value)
        counted = name.startswith(("num_", "n_")) or name.endswith(("_size", "_dim", "_length", "width", "heads"))
        whole = isinstance(value, int) and not isinstance(value, bool)
        if isinstance(value, int | float) and not abs(value) <= 1 << 40:
            raise ValueError(f"{name} {str(value)[:40]} is not a number that a model has")
        if most := SIZES.get(name):
            if not whole or not 1 <= value <= most:
                raise ValueError(f"{name} {str(value)[:40]!r} is not a whole number from 1 to {most}")
        elif counted and (isinstance(value, str | list) or (whole and not -1 <= value <= 1 << 26)):
            raise ValueError(f"{name} {str(value)[:40]!r} is not a whole number up to {1 << 26}")


def read_checked(path: Path, schema: type[T]) -> T:
    """Read a JSON file of a model folder.

    Raises:
        CheckpointError: absent, not JSON, or a field that is not what it should be; the message names it.
    """
    try:
        value = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    return checked(value, schema, path)


def checked(value: Any, schema: type[T], path: Path | str) -> T:
    """A value that was read from a file, as a schema has it.

    Raises:
        CheckpointError: a field that is not what it should be.
    """
    try:
        return TypeAdapter(schema).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        given = " ".join(str(first["input"])[:40].split())
        reason = first["msg"].removeprefix("Value error, ").removesuffix(".")
        raise CheckpointError(
            f"{path}: {place} is {given!r} ({reason}): correct it, or export the model again"
        ) from error
