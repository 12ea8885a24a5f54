"""The contract of a file format, and the choice of one by name or suffix."""

import functools
import os
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import surgvl.export
from surgvl.core.checks import check_choice
from surgvl.core.errors import ConfigError
from surgvl.core.files import atomic
from surgvl.core.registry import discover
from surgvl.export.interval_table import IntervalTable


class Format(ABC):
    """A format that a timeline is written in; one file of this package a format, found by discovery.

    Attributes:
        name: the word for `--format`, equal to the file name.
        title: as people call it.
        purpose: what opens it, in a few words.
        suffix: of its files; the first of several formats that fits a file's name at its end, the longest first.
        content_type: for a browser.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str]
    purpose: ClassVar[str]
    suffix: ClassVar[str]
    content_type: ClassVar[str]

    @abstractmethod
    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""


@functools.cache
def formats() -> dict[str, Format]:
    """All formats by name."""
    found = discover(surgvl.export, Format)  # type: ignore[type-abstract]
    return {name: kind() for name, kind in found.items()}


def choose_format(name: str, path: Path | None = None) -> Format:
    """A format by its name, or by the suffix of a file.

    Raises:
        ConfigError: there is no such format, or none with this suffix.
    """
    known = formats()
    if name:
        check_choice("--format", name, list(known))
        return known[name]
    lower = path.name.lower() if path is not None else ""
    fitting = [each for each in known.values() if lower.endswith(each.suffix)]
    if not fitting:
        suffixes = ", ".join(f"{each.suffix} ({each.name})" for each in known.values())
        raise ConfigError(f"--out {path} has no suffix of a format: end it with one of {suffixes}, or give --format")
    return max(fitting, key=lambda each: len(each.suffix))


def write_table(table: IntervalTable, path: Path | str, format: str = "") -> None:
    """Write a timeline to a file, which refers to the video by a path relative to its own folder.

    Args:
        table: the timeline; its `media` is a path, or an address, which is kept.
        path: the file.
        format: name of the format; by default, that of the suffix.

    Raises:
        ConfigError: no such format.
    """
    path = Path(path)
    kind = choose_format(format, path)
    if "://" not in table.media:
        table = replace(table, media=Path(os.path.relpath(table.media, path.parent)).as_posix())
    with atomic(path) as temporary:
        temporary.write_bytes(kind.encode(table))
