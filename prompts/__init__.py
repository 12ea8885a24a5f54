"""Prompt sets for zero-shot classification, as YAML that a surgeon can read and correct.

A set lists classes by id and name, each with one sentence or more; the vector of a class is the mean over its sentences
(Radford et al., arXiv 2103.00020, section 3.1.4). Triplet sets consist of words for instruments, verbs and targets, and
of templates that combine them. Prompts are matched to the labels of a data set by name, never by position in a file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import text_hash
from surgvl.core.ontology import INSTRUMENTS, TARGETS, TRIPLETS, VERBS
from surgvl.prompts.strict_yaml import Located

__all__ = ["PromptClass", "PromptSet", "load", "load_sets", "names"]

_FOLDER = Path(__file__).resolve().parent
Text = Annotated[str, Field(strict=True, min_length=1, pattern=r"^\S(.*\S)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptClass(_Strict):
    """One class: its id, its official name, other spellings of the name, and its sentences."""

    id: Annotated[int, Field(strict=True, ge=0)]
    name: Text
    aliases: tuple[Text, ...] = ()
    prompts: Annotated[tuple[Text, ...], Field(min_length=1)]


class _Head(_Strict):
    name: Annotated[str, Field(strict=True, pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]
    version: Annotated[int, Field(strict=True, ge=1)]
    task: Text
    dataset: Text
    also_for: tuple[Text, ...] = ()
    source: Text
    licence: Text
    language: Text
    notes: str = ""


class PromptSet(_Head):
    """A named, versioned set of prompts.

    Attributes:
        name: file name without `.yaml`; lower case, digits and underscores.
        version: incremented when a sentence changes, because scores change with it.
        task: kind of label, such as `phase` or `triplet`.
        dataset: the data set whose classes these are.
        also_for: other data sets with the same classes, under the same names or aliases.
        source: origin of the sentences.
        licence: of the sentences.
        language: of the sentences, such as `en`.
        notes: further information for users.
        classes: ordered by id, ids 0 ... C-1.
    """

    classes: Annotated[tuple[PromptClass, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (ids := [row.id for row in self.classes]) != list(range(len(ids))):
            raise ValueError(f"class ids must be 0, 1, 2, ... in order, got {ids[:12]}")
        _unique("class name", [name for row in self.classes for name in (row.name, *row.aliases)])
        _unique("prompt", [prompt.casefold() for row in self.classes for prompt in row.prompts])
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of classes, spellings and sentences, 16 hex digits: distinguishes sets of one name and version."""
        rows = [(row.id, row.name, row.aliases, row.prompts) for row in self.classes]
        return text_hash(repr((self.task, self.dataset, self.also_for, rows)))

    def texts(self) -> list[tuple[int, str, str]]:
        """All prompts as (class id, class name, prompt), in class order."""
        return [(row.id, row.name, prompt) for row in self.classes for prompt in row.prompts]


class _Verb(_Strict):
    base: Text
    third: Text
    ing: Text


class _Words(_Strict):
    instrument: dict[str, Text]
    plural: tuple[Text, ...] = ()
    verb: dict[str, _Verb]
    target: dict[str, Text]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, given, needed in (
            ("instrument", self.instrument, INSTRUMENTS),
            ("verb", self.verb, VERBS[:-1]),
            ("target", self.target, TARGETS[:-1]),
        ):
            if difference := sorted(set(given) ^ set(needed)):
                raise ValueError(f"words for {kind}: {difference} are missing or unknown; expected are {list(needed)}")
        if unknown := sorted(set(self.plural) - set(INSTRUMENTS)):
            raise ValueError(f"plural: {unknown} are not instruments; allowed are {list(INSTRUMENTS)}")
        return self


class _Composed(_Head):
    words: _Words
    templates: Annotated[tuple[Text, ...], Field(min_length=1)]
    null_templates: Annotated[tuple[Text, ...], Field(min_length=1)]

    def compose(self) -> dict[str, Any]:
        """The fields of a `PromptSet`, with `classes` in place of words and templates."""
        classes = []
        for at, (instrument, verb, target) in enumerate(TRIPLETS):
            plural = instrument in self.words.plural
            fields = {"instrument": self.words.instrument[instrument], "is": "are" if plural else "is"}
            templates = self.null_templates
            if verb != "null_verb":
                templates = self.templates
                word = self.words.verb[verb]
                third = word.base if plural else word.third
                fields |= {"verb": word.base, "verb_third": third, "verb_ing": word.ing}
                fields["target"] = self.words.target[target]
            try:
                prompts = tuple(template.format_map(fields) for template in templates)
            except (KeyError, ValueError, IndexError, AttributeError) as error:
                raise ValueError(f"a template of {','.join((instrument, verb, target))} fails on {error}") from error
            classes.append({"id": at, "name": f"{instrument},{verb},{target}", "prompts": prompts})
        return self.model_dump(exclude={"words", "templates", "null_templates"}) | {"classes": classes}


def names() -> list[str]:
    """Names of the prompt sets that ship with surgvl."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(name_or_path: str | Path) -> PromptSet:
    """Read a shipped prompt set by its name, or your own file by its path (ending in .yaml).

    Raises:
        ConfigError: no set has that name.
        DataError: the file is absent or not a prompt set; the message names file and line.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        if str(name_or_path) not in names():
            hint = did_you_mean(str(name_or_path), names(), "choose one, or give the path of a .yaml file")
            raise ConfigError(f"unknown prompt set {str(name_or_path)!r}; known are {', '.join(names())}: {hint}")
        path = _FOLDER / f"{name_or_path}.yaml"
    file = Located(path)
    composed = "templates" in file.value
    try:
        if composed:
            return PromptSet.model_validate(_Composed.model_validate(file.value).compose())
        return PromptSet.model_validate(file.value)
    except ValidationError as error:
        first = error.errors()[0]
        location = first["loc"]
        what = ": ".join(filter(None, (".".join(map(str, location)), first["msg"].removeprefix("Value error, "))))
        given = f" (given {first['input']!r})" if isinstance(first["input"], str | int) else ""
        raise DataError(f"{path}, line {file.line(location)}: {what}{given}: correct the file") from error
    except ValueError as error:
        raise DataError(f"{path}, line {file.line(('templates',))}: {error}: correct the file") from error


def load_sets(chosen: Sequence[str] | None) -> list[PromptSet]:
    """Prompt sets by name or path; by default, all that ship with surgvl.

    Raises:
        ConfigError: two have the same name.
    """
    sets = [load(name) for name in (names() if chosen is None else chosen)]
    for at, each in enumerate(sets):
        if each.name in {other.name for other in sets[:at]}:
            raise ConfigError(f"--prompt_sets: two sets are called {each.name!r}: rename one of them in its file")
    return sets


def _unique(what: str, given: list[str]) -> None:
    seen: set[str] = set()
    for text in given:
        if text in seen:
            raise ValueError(f"{what} {text!r} occurs twice: each must belong to one class")
        seen.add(text)
