"""Words on the command line: short forms are spelled out before parsing, and what does not fit is said in one line.

The line names the flag, what was given, what is allowed and what to do.
"""

import dataclasses
import inspect
import json
import os
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from surgvl.cli.renamed import arguments, config_text
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError
from surgvl.core.files import plain_yaml

# Types of arguments, by the name Python gives them, in words.
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "words, one after the other",
    "tuple": "as many words as --help shows in its default",
    "NoneType": "null",
}


class UsageError(Exception):
    """Wrong words on the command line; exit status 2."""


def name_words(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Give the leading bare words the names of their flags.

    Args:
        argv: words after the command.
        names: flags that may go without their names, in order.

    Raises:
        UsageError: there are more words than names.
    """
    bare = next((at for at, word in enumerate(argv) if word.startswith("-")), len(argv))
    if bare > len(names):
        words = " ".join(names).upper()
        allowed = f"only {words} goes without a flag" if words else "give it with a flag before it"
        raise UsageError(f"{argv[len(names)]!r} was not expected: {allowed}")
    return [f"--{flag}={word}" for flag, word in zip(names, argv[:bare], strict=False)] + list(argv[bare:])


def way_on(target: str) -> str:
    """How a command that was stopped goes on, from its module:function; empty where there is nothing to go on with."""
    module, _, name = target.partition(":")
    if name == "quickstart":
        return "; the same command goes on"
    # Before its import a command has begun nothing.
    function = vars(sys.modules[module]).get(name) if module in sys.modules else None
    resumes = function is not None and "resume" in inspect.signature(function).parameters
    return "; the same command with --resume goes on" if resumes else ""


def outline(function: Callable[..., Any], argv: Sequence[str]) -> tuple[Callable[..., Any], list[str]]:
    """A command without the types of classes, which are quoted in its annotations because they bring torch.

    Args:
        function: the command's function.
        argv: words after the command.

    Returns:
        A stand-in that takes anything for these arguments, and the words with one value for each that is given; the
        function itself and its words where no annotation is quoted, or where the words ask for the classes.
    """
    signature = inspect.signature(function)
    quoted = [each.name for each in signature.parameters.values() if isinstance(each.annotation, str)]
    if not quoted or any(re.match(r"--print[-_]config|--[\w.]+\.help", word) for word in argv):
        return function, list(argv)

    def stand_in() -> None: ...

    parameters = [
        each.replace(annotation=str | dict) if each.name in quoted else each for each in signature.parameters.values()
    ]
    vars(stand_in)["__signature__"] = signature.replace(parameters=parameters)
    stand_in.__doc__ = function.__doc__
    kept: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name = re.split(r"[.=]", word.removeprefix("--"))[0]
        if not word.startswith("--") or name not in quoted:
            kept.append(word)
            continue
        if "=" not in word and (not rest or rest[0].startswith("--")):
            kept.append(word)  # its value is missing, which the parser says
        elif "=" not in word:
            rest.pop(0)
        kept.append(f"--{name}=given")
    return stand_in, kept


def take_rest(argv: Sequence[str], flag: str) -> list[str]:
    """Make all words after a flag its value: `--flag --a 1` becomes `--flag=["--a", "1"]`.

    Args:
        argv: words after the command.
        flag: the flag's name without its dashes; empty: there is none.
    """
    for at, word in enumerate(argv):
        rest = list(argv[at + 1 :])
        if flag and word.lstrip("-").replace("-", "_") == flag and word.startswith("--") and rest[:1] != ["null"]:
            return [*argv[:at], f"--{flag}={json.dumps(rest)}"]
    return list(argv)


def read_configs(argv: Sequence[str], function: Callable[..., Any], known: Mapping[str, str]) -> list[str]:
    """Check each file of `--config` before anything is made of it, and replace one with old names by its text.

    Args:
        argv: words after the command.
        function: the command's function.
        known: names of its arguments, from `surgvl.cli.renamed.names`.

    Raises:
        UsageError: a file is not YAML that people write, not a mapping of arguments, or a group of arguments in it is
            none, or lacks a value where one must stand.
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
            out += [word, *filter(None, following)]  # the parser says so
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
            f"--config {name} is not a mapping of arguments: write lines such as `out: runs/mine`; see --help"
        )
    if "\0" in str(found) or "\\x00" in str(found):
        raise UsageError(f"--config {name} holds a NUL character, which no argument has: take it out")
    for group, fields in {
        each.name: _fields(each.annotation) for each in inspect.signature(function).parameters.values()
    }.items():
        given = found.get(group, {})
        if fields and given is None or isinstance(given, list) and fields:
            raise UsageError(f"--config {name}: {group} is {given!r}: give a mapping such as {fields[0].name}: ...")
        for field in fields if isinstance(given, dict) else ():
            if given.get(field.name, field) is None and type(None) not in get_args(field.type):
                raise UsageError(f"--config {name}: {group}.{field.name} is null: give a value, or leave it out")
    return text


def spell_out(argv: Sequence[str], function: Callable[..., Any]) -> list[str]:
    """Write short forms in full.

    `--resume` becomes `--resume=true`, `--grid 1 2 2` becomes `--grid=[1, 2, 2]`.

    Args:
        argv: words after the command, flags by their full names; all values follow their flags.
        function: the command's function; the annotations of its arguments say which flags these are.

    Raises:
        UsageError: a word holds a NUL, or one of several words is not UTF-8, in which lists are read.
    """
    if odd := next((word for word in argv if "\0" in word), ""):
        raise UsageError(f"{odd[:80]!r} holds a NUL character, which no argument has: take it out")
    kinds = {f"--{name}": _kind(annotation) for name, annotation in arguments(function).items()}
    out: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        kind = kinds.get(word)
        values: list[str] = []
        while kind and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if odd := next((each for each in values if any("\ud800" <= letter <= "\udfff" for letter in each)), ""):
            shown = os.fsencode(odd).decode("utf-8", "backslashreplace")
            raise UsageError(f"{word} {shown}: the name is not UTF-8: rename it, or give a folder that holds it")
        if kind is bool and not values:
            out.append(f"{word}=true")
        elif kind is bool or not values or values[0].startswith("[") or values == ["null"]:
            out += [word, *values]
        else:
            out.append(f"{word}={json.dumps(values)}" if kind is list else f"{word}=[{', '.join(values)}]")
    return out


def _fields(annotation: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Fields of a group of arguments, which is a dataclass."""
    return dataclasses.fields(annotation) if dataclasses.is_dataclass(annotation) else ()


def _kind(annotation: Any) -> type | None:
    """`bool`, `list` or `tuple` where an argument is one, be it optional or not."""
    parts = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    origins = [get_origin(part) or part for part in parts]
    return next((kind for kind in (bool, list, tuple) if kind in origins), None)


def explain(text: str, name: str, example: str, flags: Sequence[str], bare: Sequence[str]) -> str:
    """Say in one line what jsonargparse says in several.

    Args:
        text: its message.
        name: the command.
        example: arguments that work.
        flags: flags of the command, with their dashes.
        bare: arguments that may be given as bare words, before all flags.
    """
    line = " ".join(text.split())
    look = f"surgvl {name} --help"
    if found := re.match(r"unrecognized arguments: (\S+)", line):
        word = found[1].partition("=")[0]
        if word.startswith("-"):
            return f"unknown flag {word}: {did_you_mean(word, flags, f'{look} lists what there is')}"
        where = f"{' '.join(bare).upper()} comes before all flags" if bare else "it needs a flag before it"
        return f"{word!r} was not expected here: {where}; {look}"
    if found := re.match(r"the following arguments are required: (.+)", line):
        missing = ", ".join(flag.upper() if flag in bare else f"--{flag}" for flag in found[1].split(", "))
        return f"{missing} must be given, for example: surgvl {name} {example}"
    if found := re.match(r"argument (\S+): expected one argument", line):
        return f"{found[1]} has no value: write one after it; {look}"

    # Classes and groups of arguments are nested: their keys follow one another, the outermost first.
    key = ".".join(dict.fromkeys(re.findall(r'(?:Parser key "|^Group \')([\w.]+)', line)))
    if found := re.search(r"(?:Option '|option ')(\S+)'", line):
        path = f"{key}.{found[1]}".strip(".")
        of_class = "class" in line
        where = f"surgvl {name} --{key}.help" if of_class else look
        hint = did_you_mean(f"--{path}", () if of_class else flags, f"{where} lists what there is")
        return f"unknown argument {path}: {hint}"
    if found := re.search(r"Expected a dot import path string: (\S+)|(No module named '.+?')", line):
        given = found[1] or f"{_given(line)} ({found[2]})"
        flag = f"--{key} " if key else ""
        return f"{flag}{given} is not a known class: {look} lists them; others need a dotted path"
    if found := re.search(r"File does not exist: '(.+)'", line):
        return f"--{key} {found[1]} is not there: check the path"
    if found := re.search(r"Unable to load config '(.*?)'", line):
        return f"--{key} {found[1]!r} is not a YAML file: give one, or single values as --{key}.NAME; {look}"
    if found := re.search(r"Expected a tuple with (\d+) elements", line):
        return f"--{key} {_given(line)}: give {found[1]} words, one after the other; {look}"
    if kinds := re.findall(r"Expected a <class '([\w.]+)'>", line):
        given = _given(line)
        kinds = [kind for kind in kinds if kind != "NoneType"] or kinds
        allowed = " or ".join(dict.fromkeys(WORDS.get(kind, kind.rpartition(".")[2]) for kind in kinds))
        return f"--{key} {given!r}: give {allowed}; {look}"
    return f"{line} ({look})"


def _given(line: str) -> str:
    found = re.search(r"(?:Got|Given) value: (.*?)(?:\. Got value: .*)?$", line)
    return found[1] if found else ""
