"""A suite: the data sets of a paper's benchmark with their splits, readouts and metrics, as a YAML file in `suites/`.

Each row says how the paper measures it, in words and with its source, so that what a score leaves out can be seen.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from surgvl.bench.plan import Effect
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError
from surgvl.core.files import YAML_LOADER, plain_yaml

FOLDER = Path(__file__).with_name("suites")
# First words of a readout's command.
Verb = Literal["probe", "finetune", "embed", "ask"]
Text = Annotated[str, Field(strict=True, min_length=1)]
# A word of a readout's command that stands for the run of another readout.
RUN_OF = re.compile(r"\{(\w+)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """What is measured on a data set.

    Attributes:
        data: name of the data set's reader, which is also that of its folder below the root.
        folder: another folder below the root, where one reader reads lists about several data sets; it ends with the
            name of the one.
        kind: kind of label, such as `phase`, or `vqa`.
        split: split protocol of the reader; empty for its first one.
        readouts: names of the suite's readouts; empty for all.
        arguments: name of a readout -> further arguments of its command on this row.
        metrics: those of the main table.
        published: how the paper measures it, with the place in which that is stated.
        lacks: what is not measured here, and why; a row with it is only named.
    """

    data: Text
    kind: Text
    folder: str = ""
    split: str = ""
    readouts: tuple[Text, ...] = ()
    arguments: dict[Text, Text] = {}
    metrics: tuple[Text, ...] = ()
    published: Text
    lacks: str = ""

    @property
    def name(self) -> str:
        """Name of the row, as in file names."""
        return "-".join(filter(None, (self.data, self.about, self.kind, self.split)))

    @property
    def about(self) -> str:
        """The data set that a list is about; empty where there is no list."""
        return Path(self.folder).name

    @property
    def measured(self) -> tuple[str, str]:
        """Data set and split as in the table of published numbers; a list is a split."""
        return (self.about, self.data) if self.folder else (self.data, self.split)


class Expected(_Strict):
    """An expected order: in each pair, the first readout and encoder scores higher than the second."""

    text: Text
    pairs: tuple[tuple[Text, Text], ...]
    kinds: tuple[Text, ...]

    @property
    def effect(self) -> Effect:
        """The same for the tables of `bench`."""
        return Effect(self.text, self.pairs, self.kinds)


class Suite(_Strict):
    """A benchmark.

    Attributes:
        name: equal to the file name.
        title: in a few words.
        source: paper and code.
        protocol: what its rows have in common, and where we differ.
        readouts: name -> command and arguments after `surgvl`, such as `probe --readout linear`. `--encoder {linear}`
            takes the run of the readout of that name, listed before, on the same row and encoder.
        rows: the data sets.
        render: arguments of `surgvl phantom`, for a suite that makes its own data.
        encoders: encoders to measure if none are named.
        expected: orders that should be found, written down before anything was measured.
    """

    name: Text
    title: Text
    source: Text
    protocol: Text
    readouts: dict[Text, Text]
    rows: tuple[Row, ...]
    render: str = ""
    encoders: tuple[Text, ...] = ()
    expected: tuple[Expected, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for row in self.rows:
            if unknown := [name for name in (*row.readouts, *row.arguments) if name not in self.readouts]:
                raise ValueError(f"{row.data}: readout {unknown[0]!r} is not among {', '.join(self.readouts)}")
            for name in self.readouts_of(row):
                if (start := self.start_of(name)) and start not in self.readouts_of(row):
                    raise ValueError(f"{row.data}: readout {name} begins with {start}, which the row must have, too")
        for name, words in self.readouts.items():
            if (start := self.start_of(name)) in [*self.readouts][[*self.readouts].index(name) :]:
                raise ValueError(f"readout {name} must come after {start}, with which it begins")
            if words.split()[0] not in Verb.__args__:  # type: ignore[attr-defined]
                raise ValueError(f"readout {name} must start with probe, finetune, embed or ask, got {words!r}")
        if len({row.name for row in self.rows}) != len(self.rows):
            raise ValueError("two rows have the same data set, kind and split")
        return self

    def readouts_of(self, row: Row) -> list[str]:
        """Names of the readouts of a row."""
        return list(row.readouts or self.readouts)

    @property
    def by_text(self) -> bool:
        """Whether clips are recognised by sentences."""
        return any(words.split()[0] == "embed" for words in self.readouts.values())

    def start_of(self, readout: str) -> str:
        """Name of the readout whose run another one begins with; empty if it begins with the encoder."""
        found = RUN_OF.search(self.readouts[readout])
        return found[1] if found else ""


def read_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        ConfigError: the file is not a suite; the message names the place.
    """
    try:
        return Suite.model_validate(yaml.load(plain_yaml(path), Loader=YAML_LOADER))
    except (ValidationError, yaml.YAMLError) as error:
        first: dict[str, Any] = {"loc": (), "msg": str(error)}
        if isinstance(error, ValidationError):
            first = dict(error.errors()[0])
        place = ".".join(map(str, first["loc"]))
        fact = " ".join(first["msg"].split())
        raise ConfigError(f"{path}: {place}: {fact}: see the suites in {FOLDER.name}/ for the form") from error


@cache
def suite_names() -> tuple[str, ...]:
    """Names of the suites that ship."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_suite(name: str) -> Suite:
    """A suite that ships, or one in a YAML file.

    Raises:
        ConfigError: there is none of that name.
    """
    if name.endswith(".yaml") and Path(name).is_file():
        return read_suite(Path(name))
    if name not in suite_names():
        hint = did_you_mean(name, suite_names(), "choose one of them, or give a YAML file")
        raise ConfigError(f"--suite {name!r} is unknown; known are {', '.join(suite_names())}: {hint}")
    return read_suite(FOLDER / f"{name}.yaml")
