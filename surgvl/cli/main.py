"""The command line: a table of commands, each a typed function that is imported only when it is called."""

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from surgvl.cli.arguments import (
    UsageError,
    explain,
    name_words,
    outline,
    read_configs,
    spell_out,
    take_rest,
    way_on,
)
from surgvl.cli.renamed import names, rename_words
from surgvl.cli.table import COMMANDS, examples, group, group_help, overview
from surgvl.core.checks import did_you_mean
from surgvl.core.credentials import VARIABLE, in_words, mask, wipe, without_keys
from surgvl.core.errors import ConfigError, SurgVLError, SurgVLWarning
from surgvl.core.invocation import Invocation, running
from surgvl.core.registry import class_names
from surgvl.core.version import __version__

RECIPES = Path(__file__).parent.parent / "recipes"
# Packages that only an extra brings, and the extra.
EXTRAS = {
    "lightning": "train",
    "peft": "train",
    "faiss": "retrieval",
    "gradio": "demo",
    "vllm": "serve",
    "httpx": "serve",
    "openai": "client",
    "starlette": "serve",
    "uvicorn": "serve",
}


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Command name (of one or two words) and the rest."""
    for words in (2, 1):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, list(argv[words:])
    if known := group(argv[0]):
        raise UsageError(f"{argv[0]!r} is followed by one of {', '.join(n.split()[1] for n in known)}: add it")
    hint = did_you_mean(argv[0], COMMANDS, f"commands are {', '.join(COMMANDS)}")
    raise UsageError(f"there is no command {argv[0]!r}: {hint}")


def recipes(name: str) -> list[str]:
    """Names of a command's shipped recipes: each file starts with a comment that holds the command."""
    start = f"# surgvl {name} "
    return sorted(file.stem for file in RECIPES.glob("*.yaml") if file.read_text(encoding="utf-8").startswith(start))


def _recipe(argv: list[str], name: str) -> list[str]:
    """Replace `--recipe NAME` by `--config FILE` of the shipped recipe, in front: what is typed wins over it."""
    configs: list[str] = []
    others: list[str] = []
    words = iter(argv)
    for word in words:
        if word != "--recipe" and not word.startswith("--recipe="):
            others.append(word)
            continue
        wanted, known = word.partition("=")[2] or next(words, ""), recipes(name)
        if wanted not in known:
            there = ", ".join(known) or "none"
            hint = did_you_mean(wanted, known, "choose one of them" if known else "leave --recipe out")
            raise UsageError(f"`surgvl {name}` has no recipe {wanted!r}; there is {there}: {hint}")
        configs.append(f"--config={RECIPES / wanted}.yaml")
    return configs + others


def parse(argv: Sequence[str]) -> tuple[Any, Any, Any]:
    """Read the words of a command without running it: its function, its parser and its configuration.

    Raises:
        UsageError: the words do not fit the command.
        SystemExit: they ask for help or for the configuration, which was printed.
    """
    name, rest = _split(argv)
    command = COMMANDS[name]
    module, _, attribute = command.target.partition(":")
    words = _recipe(name_words(take_rest(rest, command.rest), command.words), name)
    function = vars(importlib.import_module(module))[attribute]
    known = names(function)
    words = read_configs(rename_words(words, known), function, known)
    sketch, others = outline(function, words)
    if sketch is not function:
        # What is wrong with the rest is said, and help is shown, before torch is imported for the types of classes.
        _read(name, sketch, others)
    parser, config = _read(name, function, words)
    return function, parser, config


def _read(name: str, function: Any, words: list[str]) -> tuple[Any, Any]:
    """A command's parser and what it makes of the words."""
    import jsonargparse

    from surgvl.cli.help import parser as parser_of

    command, shipped = COMMANDS[name], recipes(name)
    notes = [f"--recipe NAME is --config with a file that ships: {', '.join(shipped)}"] if shipped else []
    flag, package = command.classes
    if package:
        known = ", ".join(class_names(importlib.import_module(package)))
        notes.append(f"--{flag} is one of {known}, or a dotted path; --{flag}.help CLASS shows its arguments.")
    if more := group(name):
        notes.append(f"See also: {', '.join(f'surgvl {each} --help' for each in more)}")
    parser = parser_of(name, function, command.words, examples(name), notes)
    try:
        config = parser.parse_args(spell_out(words, function))
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
        # jsonargparse takes the shape of a file's values for granted.
        raise UsageError(f"a value has the wrong type ({error}): see surgvl {name} --help") from error
    except jsonargparse.ArgumentError as error:
        flags = [f"--{each}" for each in (*parser.get_defaults(skip_validation=True).keys(), "recipe")]
        raise UsageError(explain(str(error), name, command.example, flags, command.words)) from error
    config.pop("config", None)
    return parser, config


def run(argv: Sequence[str]) -> Any:
    """Run one command, given as it would be typed after `surgvl`, and return what its function returns.

    Raises:
        UsageError: the words do not fit the command.
        SurgVLError: the command cannot do what was asked, or a package that it needs is not installed.
    """
    try:
        function, parser, config = parse(argv)
        shown = config.clone()
        keys = {name: value for name, value in config.items() if name.rpartition(".")[2] == "api_key" and value}
        for name in keys:
            shown[name] = ""
        words = [mask(word) for word in without_keys(["surgvl", *argv], set(keys.values()))]
        with running(Invocation(words, mask(parser.dump(shown, skip_validation=True)))):
            return inspect.unwrap(function)(**vars(parser.instantiate(config)))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        remedy = f"pip install 'surgvl[{EXTRAS[package]}]'"
        raise ConfigError(f"`surgvl {argv[0]}` needs {package}, which is not installed: {remedy}") from error


def _tell(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of ours as one line, like an error; those of packages as Python shows them."""
    ours = issubclass(category, SurgVLWarning)
    text = f"surgvl: {message}\n" if ours else warnings.formatwarning(message, category, filename, lineno, line)
    print(text, end="", file=file or sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        The exit status: 0, 1 for what went wrong, 2 for usage, 130 for Ctrl-C, 141 where nobody reads what is printed.
    """
    try:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", SurgVLWarning)
                warnings.showwarning = _tell
                return _main(list(sys.argv[1:] if argv is None else argv))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # As `head` does it, which has what it wanted; what is left must not be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(argv: list[str]) -> int:
    keys = in_words(argv)
    if keys and not wipe(keys):
        print(f"surgvl: the key shows in the list of processes: set {VARIABLE} or give @FILE", file=sys.stderr)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] not in COMMANDS and group(argv[0]) and argv[1:] in (["-h"], ["--help"]):
        print(group_help(argv[0]))
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    try:
        run(argv)
    except (UsageError, SurgVLError) as error:
        if os.environ.get("SURGVL_DEBUG") == "1":
            raise
        print(f"surgvl: {mask(str(error), keys)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:
        raise
    except OSError as error:
        if os.environ.get("SURGVL_DEBUG") == "1" or error.strerror is None:
            raise
        named = f"{error.filename}: " if error.filename else ""
        print(f"surgvl: {named}{error.strerror}: check the path, its permissions and the free space", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"surgvl: stopped{way_on(COMMANDS[_split(argv)[0]].target)}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
