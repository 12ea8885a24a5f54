"""The words of a command line, before they are parsed: positional words, short forms and files of `--config`."""

import dataclasses
import inspect
import json
import os
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from surgvl.cli.renamed import arguments, config_text
from surgvl.cli.usage_error import UsageError
from surgvl.core.errors import DataError
from surgvl.core.files import plain_yaml


def name_words(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Turn the leading positional words into flags.

    Args:
        argv: words after the command.
        names: arguments that may be positional, in order; the last one may end with `...`, to take all words that are
            left.

    Raises:
        UsageError: there are more words than names.
    """
    bare = next((at for at, word in enumerate(argv) if word.startswith("-")), len(argv))
    several = len(names) - 1 if names and names[-1].endswith("...") else bare
    if several < bare:
        first = [f"--{flag}={word}" for flag, word in zip(names, argv[:several], strict=False)]
        return [*first, f"--{names[-1].removesuffix('...')}", *argv[several:]]
    if bare > len(names):
        words = " ".join(names).upper()
        allowed = f"only {words} may be given without a flag" if words else "put its flag before it"
        raise UsageError(f"unexpected {argv[len(names)]!r}: {allowed}")
    return [f"--{flag}={word}" for flag, word in zip(names, argv[:bare], strict=False)] + list(argv[bare:])


def outline(function: Callable[..., Any], argv: Sequence[str]) -> tuple[Callable[..., Any], list[str]]:
    """A command without its quoted annotations: types that import torch.

    Args:
        function: the command's function.
        argv: words after the command.

    Returns:
        A stand-in that accepts anything for these arguments, and the words with a dummy value for each of them that is
        given; the function and its words if no annotation is quoted, or if the words ask about the classes.
    """
    parameters = inspect.signature(function).parameters.values()
    quoted = [each.name for each in parameters if isinstance(each.annotation, str)]
    if not quoted or any(re.match(r"--print[-_]config|--[\w.]+\.help", word) for word in argv):
        return function, list(argv)

    kept: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name = re.split(r"[.=]", word.removeprefix("--"))[0]
        if not word.startswith("--") or name not in quoted:
            kept.append(word)
            continue
        if "=" not in word and (not rest or rest[0].startswith("--")):
            kept.append(word)  # the parser reports the missing value
        elif "=" not in word:
            rest.pop(0)
        kept.append(f"--{name}=given")
    return _stand_in(function), kept


@cache
def _stand_in(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that accepts anything for each argument whose annotation is quoted."""

    def stand_in() -> None: ...

    signature = inspect.signature(function)
    given = signature.parameters.values()
    loose = [each.replace(annotation=str | dict) if isinstance(each.annotation, str) else each for each in given]
    vars(stand_in)["__signature__"] = signature.replace(parameters=loose)
    stand_in.__doc__ = function.__doc__
    return stand_in


def take_rest(argv: Sequence[str], flag: str) -> list[str]:
    """Make all words after a flag its value: `--flag --a 1` becomes `--flag=["--a", "1"]`.

    Args:
        argv: words after the command.
        flag: the flag's name without dashes; empty if there is none.
    """
    for at, word in enumerate(argv):
        rest = list(argv[at + 1 :])
        if flag and word.lstrip("-").replace("-", "_") == flag and word.startswith("--") and rest[:1] != ["null"]:
            return [*argv[:at], f"--{flag}={json.dumps(rest)}"]
    return list(argv)


def read_configs(argv: Sequence[str], function: Callable[..., Any], known: Mapping[str, str]) -> list[str]:
    """Check each file of `--config` before it is parsed, and replace a file with old names by its updated text.

    Args:
        argv: words after the command.
        function: the command's function.
        known: names of its arguments, from `surgvl.cli.renamed.names`.

    Raises:
        UsageError: a file is not plain YAML or not a mapping of arguments, or a value in it is null or of the wrong
            kind.
    """
    out: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, name = word.partition("=")
        if flag != "--config":
            out.append(word)
            continue
        following = [] if equals else [next(words, "")]
        name = name or "".join(following)
        if not Path(name).exists():
            out += [word, *filter(None, following)]  # the parser reports it
            continue
        text = _checked(name, function)
        today = config_text(text, known)
        out.append(f"--config={name if today == text else today}")
    return out


def _checked(name: str, function: Callable[..., Any]) -> str:
    try:
        text = plain_yaml(name)
        found = yaml.safe_load(text)
    except (DataError, yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--config {' '.join(str(error).split())[:400]}") from error
    if not isinstance(found, dict):
        raise UsageError(
            f"--config {name} must be a mapping of arguments, with lines such as `out: runs/mine`; see --help"
        )
    if "\0" in str(found) or "\\x00" in str(found):
        raise UsageError(f"--config {name} contains a NUL character: remove it")
    for group, fields in {
        each.name: _fields(each.annotation) for each in inspect.signature(function).parameters.values()
    }.items():
        given = found.get(group, {})
        if fields and given is None or isinstance(given, list) and fields:
            raise UsageError(
                f"--config {name}: {group} must be a mapping such as {{{fields[0].name}: ...}}, got {given!r}"
            )
        for field in fields if isinstance(given, dict) else ():
            if given.get(field.name, field) is None and type(None) not in get_args(field.type):
                raise UsageError(f"--config {name}: {group}.{field.name} must not be null: set it, or remove the line")
    return text


def spell_out(argv: Sequence[str], function: Callable[..., Any]) -> list[str]:
    """Expand the short forms of values.

    `--resume` becomes `--resume=true`, `--grid 1 2 2` becomes `--grid=[1, 2, 2]`, `--like=-3@1` becomes
    `--like=["-3@1"]`.

    Args:
        argv: words after the command, with full names of flags; all values follow their flags.
        function: the command's function; its annotations tell the kinds of values.

    Raises:
        UsageError: a word contains a NUL, or a word of a list is not UTF-8.
    """
    if odd := next((word for word in argv if "\0" in word), ""):
        raise UsageError(f"{odd[:80]!r} contains a NUL character: remove it")
    kinds = {f"--{name}": _kind(annotation) for name, annotation in arguments(function).items()}
    out: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        flag, joined, value = word.partition("=")
        if joined and kinds.get(flag) is list and value != "null" and not value.startswith("["):
            out.append(f"{flag}={json.dumps([value])}")
            continue
        kind = kinds.get(word)
        values: list[str] = []
        while kind and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if odd := next((each for each in values if any("\ud800" <= letter <= "\udfff" for letter in each)), ""):
            shown = os.fsencode(odd).decode("utf-8", "backslashreplace")
            raise UsageError(f"{word} {shown}: the name is not UTF-8: rename the file, or pass its folder")
        if kind is bool and not values:
            out.append(f"{word}=true")
        elif kind is bool or not values or values[0].startswith("[") or values == ["null"]:
            out += [word, *values]
        else:
            out.append(f"{word}={json.dumps(values)}" if kind is list else f"{word}=[{', '.join(values)}]")
    return out


def _fields(annotation: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Fields of a group of arguments; none if it is a single argument."""
    return dataclasses.fields(annotation) if dataclasses.is_dataclass(annotation) else ()


def _kind(annotation: Any) -> type | None:
    """`bool`, `list` or `tuple` if an argument is one, optional or not."""
    parts = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    origins = [get_origin(part) or part for part in parts]
    return next((kind for kind in (bool, list, tuple) if kind in origins), None)
