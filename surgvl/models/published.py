"""The registry of published models: what each is for, whose it is, where its files are, how it sees a video.

One file a model, `registry/NAME.yaml`; a model of a known family needs no more than that. It imports no torch.
"""

from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError
from surgvl.core.files import YAML_LOADER, plain_yaml
from surgvl.core.operations import any_of, qualified

REGISTRY = Path(__file__).parent / "registry"
FREE = ("Apache-2.0", "BSD-3-Clause", "CC0-1.0", "MIT")
"""Licences (SPDX) that ask for nothing before use; all others must be accepted."""
ARCHIVE = ".zip"
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")

Text = Annotated[str, Field(strict=True, min_length=1)]
Address = Annotated[str, Field(strict=True, pattern=r"^https?://\S+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Original(_Strict):
    """A file as its authors publish it, at an address or on the Hugging Face hub.

    Attributes:
        name: its name; on the hub the path in the repository, or a pattern (`*.json`) for several.
        otherwise: the name of a file that takes its place where it is missing.
        url: its address.
        hub: OWNER/NAME of the repository on the hub; the oldest have no owner.
        revision: branch, tag or commit of the repository.
        sha256: where it is known; otherwise that of the first fetch is kept.
        size: bytes, where they are known.
    """

    name: Text
    otherwise: Text | None = None
    url: Address | None = None
    hub: Annotated[str, Field(strict=True, pattern=r"^[\w.-]+(/[\w.-]+)?$")] | None = None
    revision: Text = "main"
    sha256: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(strict=True, ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.url is None) == (self.hub is None):
            raise ValueError("give url or hub")
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or "\\" in self.name or self.name.startswith("."):
            raise ValueError(f"{self.name!r} leads out of its folder")
        if self.several and self.hub is None:
            raise ValueError("a pattern needs a hub")
        return self

    @property
    def several(self) -> bool:
        """Whether the name is a pattern, for as many files as there are."""
        return "*" in self.name

    @property
    def where(self) -> str:
        """The address, for people: that of the repository's page for files of the hub."""
        return self.url or f"https://huggingface.co/{self.hub}"


class TrainedOn(_Strict):
    """A data set that a model was trained on.

    Attributes:
        data_set: its name, as `surgvl data list` has it where it is there; `unknown` where nobody names it.
        videos: ids of the videos, where they are published.
        unknown: why they are not known; any video of the data set may then be among them.
        source: who says so.
    """

    data_set: Text
    videos: tuple[Text, ...] = ()
    unknown: str = ""
    source: Text

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.videos) == bool(self.unknown):
            raise ValueError("give either videos, or unknown with the reason why they are not known")
        return self

    @property
    def seen_ids(self) -> list[str]:
        """Ids of the videos with their data set, or what stands for any of its videos (`surgvl.core.operations`)."""
        return [qualified(name, self.data_set) for name in self.videos] or [any_of(self.data_set)]


class Recorded(_Strict):
    """What a model makes of the built-in clip and sentence: the first numbers of each unit vector."""

    clip: list[float]
    text: list[float]


class Published(_Strict):
    """A published model.

    Attributes:
        name: the name of its file.
        title: its name as its authors write it.
        kind: `video-text` (two towers), or `chat` (a vision-language model that answers questions).
        purpose: what it is for.
        family: the adapter that reads it (`surgvl.models.adapters`); empty for chat models, which are read as they are.
        arguments: of the family.
        shipped: whether it is part of surgvl.
        licence: SPDX where there is one.
        commercial: whether its licence allows commercial use; `ask` where it does not say clearly.
        gated: whether the hub asks for an account that has accepted its terms.
        source: page of the model.
        paper: page of the paper.
        sees: single frames or clips.
        preprocess: fields of `Preprocess`; without them, the family's.
        files: its files; the first one has the weights.
        num_parameters: where they are known.
        trained_on: what it has seen, as its authors say; shipped models have a record of their training instead.
        note: anything that a user must know.
        recorded: vectors to compare with.
    """

    name: Text
    title: Text
    kind: Literal["video-text", "chat"]
    purpose: Text
    family: str = ""
    arguments: dict[str, Any] = {}
    shipped: bool = False
    licence: Text
    commercial: Literal["yes", "no", "ask"]
    gated: bool = False
    source: Address | None = None
    paper: Address | None = None
    sees: Literal["frames", "clips"] | None = None
    preprocess: dict[str, Any] | None = None
    files: tuple[Original, ...] = ()
    num_parameters: Annotated[int, Field(strict=True, ge=1)] | None = None
    trained_on: tuple[TrainedOn, ...] = ()
    note: str = ""
    recorded: Recorded | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.shipped == bool(self.files):
            raise ValueError("a model has files unless it is shipped")
        if self.shipped == bool(self.trained_on):
            raise ValueError("a model says what it was trained on (data_set: unknown where nobody does) unless shipped")
        if self.kind == "video-text" and not self.shipped and not (self.family and self.sees):
            raise ValueError("a video-text model needs family and sees")
        return self

    @property
    def asks(self) -> bool:
        """Whether its licence must be accepted first."""
        return self.licence not in FREE

    @property
    def seen_ids(self) -> list[str]:
        """Ids of the videos that it was trained on, with their data sets; see `TrainedOn.seen_ids`."""
        return sorted({name for each in self.trained_on for name in each.seen_ids})

    @property
    def size(self) -> int | None:
        """Bytes of all files; None where one is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes or not sizes else sum(filter(None, sizes))


def registry() -> dict[str, Published]:
    """All published models, by name.

    Raises:
        ConfigError: a file is not valid; the message names it and the field.
    """
    return _read(REGISTRY)


@cache
def _read(folder: Path) -> dict[str, Published]:
    return {path.stem: read_entry(path) for path in sorted(folder.glob("*.yaml"))}


def read_entry(path: Path) -> Published:
    """Read the file of a model.

    Raises:
        DataError: it is not plain YAML.
        ConfigError: a field is missing, unknown or not valid.
    """
    found = yaml.load(plain_yaml(path), Loader=YAML_LOADER)
    if not isinstance(found, dict) or "name" in found:
        raise ConfigError(f"{path} must be a mapping without a name, which is that of the file")
    try:
        return Published.model_validate({**found, "name": path.stem})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {place}: {reason}, got {str(first['input'])[:60]!r}: correct it") from error


def published(name: str) -> Published:
    """The entry of a name.

    Raises:
        ConfigError: there is none; the message names the most similar one.
    """
    known = registry()
    if name not in known:
        hint = did_you_mean(name, known, "surgvl models list shows all")
        raise ConfigError(f"{name!r} is not a published model: {hint}")
    return known[name]
