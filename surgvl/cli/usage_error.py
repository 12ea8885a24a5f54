"""A usage error in one line: the flag, the allowed values and the value that was given.

jsonargparse says the same in several lines and in Python's words, and has no setting for that: hence the patterns in
`explain`, which a major release may break (pyproject.toml holds it below the next one).
"""

import re
from collections.abc import Sequence

from surgvl.core.checks import did_you_mean

# What a value must be, by the name of its type.
KINDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "list": "a list of words",
    "dict": "a mapping such as {NAME: 1}",
    "tuple": "as many words as the default in --help",
    "NoneType": "null",
}


class UsageError(Exception):
    """The command line is wrong; exit status 2."""


def explain(text: str, name: str, example: str, flags: Sequence[str], bare: Sequence[str]) -> str:
    """A usage error in one line.

    Args:
        text: jsonargparse's message.
        name: the command.
        example: arguments that work.
        flags: flags of the command, with dashes.
        bare: arguments that may be positional, before all flags.
    """
    line = " ".join(text.split())
    look = f"surgvl {name} --help"
    if found := re.match(r"unrecognized arguments: (\S+)", line):
        word = found[1].partition("=")[0]
        if word.startswith("-"):
            return f"unknown flag {word}: {did_you_mean(word, flags, f'{look} lists all flags')}"
        where = f"{' '.join(bare).upper()} must come before all flags" if bare else "put its flag before it"
        return f"unexpected {word!r}: {where}; {look}"
    if found := re.match(r"the following arguments are required: (.+)", line):
        missing = ", ".join(flag.upper() if flag in bare else f"--{flag}" for flag in found[1].split(", "))
        return f"{missing} must be given, as in: surgvl {name} {example}"
    if found := re.match(r"argument (\S+): expected one argument", line):
        return f"{found[1]} needs a value; {look}"

    # Keys of nested classes and groups follow one another, the outermost first.
    key = ".".join(dict.fromkeys(re.findall(r'(?:Parser key "|^Group \')([\w.]+)', line)))
    if found := re.search(r"(?:Option '|option ')(\S+)'", line):
        path = f"{key}.{found[1]}".strip(".")
        of_class = "class" in line
        where = f"surgvl {name} --{key}.help" if of_class else look
        hint = did_you_mean(f"--{path}", () if of_class else flags, f"{where} lists all arguments")
        return f"unknown argument {path}: {hint}"
    if found := re.search(r"Expected a dot import path string: (\S+)|(No module named '.+?')", line):
        given = found[1] or f"{_given(line)} ({found[2]})"
        flag = f"--{key} " if key else ""
        return f"{flag}{given} is not a known class: {look} lists them; other classes need a dotted path"
    if found := re.search(r"File does not exist: '(.+)'", line):
        return f"--{key} {found[1]} does not exist: check the path"
    if found := re.search(r"Unable to load config '(.*?)'", line):
        return f"--{key} must be a YAML file, got {found[1]!r}; single values are --{key}.NAME; {look}"
    if found := re.search(r"Expected a tuple with (\d+) elements", line):
        return f"--{key} must be {found[1]} words, got {_given(line)}; {look}"
    if found := re.search(r"Expected a typing\.Literal\[(.*?)\]", line):
        return f"--{key} must be one of {found[1].replace(chr(39), '')}, got {_given(line)!r}; {look}"
    if kinds := re.findall(r"Expected a <class '([\w.]+)'>", line):
        given = _given(line)
        kinds = [kind for kind in kinds if kind != "NoneType"] or kinds
        allowed = " or ".join(dict.fromkeys(KINDS.get(kind, kind.rpartition(".")[2]) for kind in kinds))
        return f"--{key} must be {allowed}, got {given!r}; {look}"
    return f"{line} ({look})"


def _given(line: str) -> str:
    found = re.search(r"(?:Got|Given) value: (.*?)(?:\. Got value: .*)?$", line)
    return found[1] if found else ""
