"""Wordings of questions: the same question asked in several ways, by type of answer, to see what a wording does.

General models answer the same question differently when it is put differently; a score of one wording hides that.
"""

import string
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import text_hash
from surgvl.prompts.strict_yaml import Located

__all__ = ["Wordings", "load", "names"]

_FOLDER = Path(__file__).resolve().parent
FIELDS = ("question", "options", "format")
MIN_WORDINGS = 5


def _checked(template: str) -> str:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ValueError(f"{template!r} is not a template ({error})") from error
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise ValueError(f"{template!r} has fields {unknown}; allowed are {', '.join(FIELDS)}")
    if fields.count("question") != 1:
        raise ValueError(f"{template!r} must have {{question}} once")
    return template


Template = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_checked)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TypeWordings(_Strict):
    """Wordings of questions of one type: the usual one first, and one that shows an answered question before."""

    wordings: Annotated[tuple[Template, ...], Field(min_length=MIN_WORDINGS)]
    example: Template | None = None


class Wordings(_Strict):
    """A named, versioned set of wordings.

    Attributes:
        name: file name without `.yaml`.
        version: incremented when a sentence changes, because scores change with it.
        source: origin of the sentences.
        licence: of the sentences.
        language: of the sentences, such as `en`.
        notes: further information for users.
        types: by type of answer, such as `choice`.
    """

    name: Annotated[str, Field(strict=True, pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]
    version: Annotated[int, Field(strict=True, ge=1)]
    source: str
    licence: str
    language: str
    notes: str = ""
    types: Annotated[dict[str, TypeWordings], Field(min_length=1)]

    @property
    def hash(self) -> str:
        """SHA-256 of the sentences, 16 hex digits."""
        rows: dict[str, Any] = {name: (each.wordings, each.example) for name, each in sorted(self.types.items())}
        return text_hash(repr(rows))


def names() -> list[str]:
    """Names of the sets of wordings that ship with surgvl."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(name_or_path: str | Path) -> Wordings:
    """Read a shipped set of wordings by its name, or your own file by its path (ending in .yaml).

    Raises:
        ConfigError: no set has that name.
        DataError: the file is absent or holds no wordings; the message names file and line.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        if str(name_or_path) not in names():
            hint = did_you_mean(str(name_or_path), names(), "choose one, or give the path of a .yaml file")
            raise ConfigError(f"unknown wordings {str(name_or_path)!r}; known are {', '.join(names())}: {hint}")
        path = _FOLDER / f"{name_or_path}.yaml"
    file = Located(path)
    try:
        return Wordings.model_validate(file.value)
    except ValidationError as error:
        first = error.errors()[0]
        what = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))))
        raise DataError(f"{path}, line {file.line(first['loc'])}: {what}: correct the file") from error
