"""`vectors.json` of a vectors folder: the origin of its vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from surgvl.core.errors import DataError
from surgvl.core.files import read_json, write_json
from surgvl.core.operations import UNKNOWN
from surgvl.prompts import PromptSet
from surgvl.video.clip import Preprocess

if TYPE_CHECKING:
    from surgvl.embed.recordings import Shards
    from surgvl.models.model_info import ModelFacts


class PromptSetFacts(BaseModel):
    """Facts about an embedded prompt set, so that its file is not needed again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    task: str = Field(default="", description="phase, triplet, ...; empty in folders written before this was kept")
    datasets: list[str] = Field(default=[], description="data sets whose classes they are")
    aliases: dict[str, str] = Field(default={}, description="other spelling of a class -> its name")
    hash: str = Field(default="", description="of classes, spellings and sentences")

    @classmethod
    def of(cls, prompts: PromptSet) -> "PromptSetFacts":
        """The facts about a set."""
        return cls(
            version=prompts.version,
            task=prompts.task,
            datasets=[prompts.dataset, *prompts.also_for],
            aliases={alias: row.name for row in prompts.classes for alias in row.aliases},
            hash=prompts.hash,
        )

    def fits(self, task: str, dataset: str) -> bool:
        """Whether the set fits a task and data set; names are compared case-insensitively."""
        return self.task == task and dataset.casefold() in {name.casefold() for name in self.datasets}


class Meta(BaseModel):
    """`vectors.json`: the origin of the vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = Field(description="model folder")
    model_hash: str
    dim: int = Field(gt=0, description="E, width of the vectors")
    clip_s: float = Field(gt=0, description="length of a window, seconds")
    stride_s: float = Field(gt=0, description="distance between windows, seconds")
    preprocess: Preprocess | None = Field(default=None, description="how clips were cut; unknown in older folders")
    num_vectors: int = Field(ge=0)
    frozen: bool | None = Field(description="whether the encoder was; null where that is not recorded")
    num_trainable: int = Field(ge=0, description="parameters that were trained on labels")
    pretraining_video_ids: list[str] = []
    damaged_frames: dict[str, str] = Field(
        default={}, description="video id -> how many of its decoded frames are marked damaged, where some are"
    )
    prompt_sets: dict[str, PromptSetFacts] = Field(default={}, description="embedded prompt sets by name")

    @classmethod
    def of(cls, model: "ModelFacts", shards: "Shards", sets: Sequence[PromptSet]) -> "Meta":
        """The origin of a folder with these shards and prompt sets."""
        return cls(
            model=model.name,
            model_hash=model.hash,
            dim=model.dim,
            clip_s=model.preprocess.clip_s,
            stride_s=model.preprocess.step_s,
            preprocess=model.preprocess,
            num_vectors=shards.count,
            frozen=model.trained.get("frozen"),
            num_trainable=int(model.trained.get("num_trainable", 0)),
            pretraining_video_ids=model.trained.get("pretraining_video_ids", [UNKNOWN]),
            damaged_frames=shards.damaged,
            prompt_sets={each.name: PromptSetFacts.of(each) for each in sets},
        )

    @field_validator("prompt_sets", mode="before")
    @classmethod
    def _versions(cls, value: Any) -> Any:
        """Older folders hold only the version of each set."""
        if not isinstance(value, dict):
            return value
        return {name: {"version": facts} if isinstance(facts, int) else facts for name, facts in value.items()}


def read_meta(folder: Path | str) -> Meta:
    """`vectors.json` of a finished folder.

    Raises:
        DataError: it is unfinished, or a field is invalid.
    """
    folder = Path(folder)
    if not (folder / "vectors.json").is_file():
        raise DataError(f"{folder} has no vectors.json: run `surgvl embed` on it, with --resume if it was interrupted")
    try:
        return Meta.model_validate(read_json(folder / "vectors.json"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / 'vectors.json'}: {where}: {first['msg']}: embed again") from error


def write_meta(folder: Path | str, meta: Meta) -> None:
    """Write `vectors.json`, which marks the folder as finished; call it last."""
    write_json(Path(folder) / "vectors.json", meta.model_dump())
