"""The command line: finds a command in the table, imports its function, parses the words and calls it."""

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from surgvl.cli.arguments import name_words, outline, read_configs, spell_out, take_rest
from surgvl.cli.overview import examples, group, group_help, overview
from surgvl.cli.renamed import names, rename_words
from surgvl.cli.table import COMMANDS
from surgvl.cli.usage_error import UsageError, explain
from surgvl.core.checks import did_you_mean
from surgvl.core.credentials import VARIABLE, in_words, mask, wipe, without_keys
from surgvl.core.errors import ConfigError, SurgVLError, SurgVLWarning, Terminated
from surgvl.core.invocation import Invocation, running
from surgvl.core.registry import class_names
from surgvl.core.version import __version__

RECIPES = Path(__file__).parent.parent / "recipes"
# With any command: what is asked for by name, and is not on this machine, is fetched.
FETCH = "--fetch"
# Packages that only an extra installs, and the extra.
EXTRAS = {
    "lightning": "train",
    "peft": "train",
    "faiss": "retrieval",
    "gradio": "demo",
    "vllm": "serve",
    "openai": "client",
    "starlette": "serve",
    "uvicorn": "serve",
}


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The command's name, of one or two words, and the rest."""
    for words in (2, 1):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, list(argv[words:])
    if known := group(argv[0]):
        raise UsageError(f"surgvl {argv[0]} must be followed by one of {', '.join(n.split()[1] for n in known)}")
    first = dict.fromkeys(name.split()[0] for name in COMMANDS)
    hint = did_you_mean(argv[0], COMMANDS, f"commands are {', '.join(first)}")
    raise UsageError(f"unknown command {argv[0]!r}: {hint}")


def recipes(name: str) -> list[str]:
    """Names of the recipes that ship for a command: the first line of each file is a comment with its command."""
    start = f"# surgvl {name} "
    return sorted(file.stem for file in RECIPES.glob("*.yaml") if file.read_text(encoding="utf-8").startswith(start))


def _recipe(argv: list[str], name: str) -> list[str]:
    """Replace `--recipe NAME` by `--config FILE` of the recipe, in front, so that typed arguments override it."""
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
            raise UsageError(f"`surgvl {name}` has no recipe {wanted!r}; recipes: {there}: {hint}")
        configs.append(f"--config={RECIPES / wanted}.yaml")
    return configs + others


def parse(argv: Sequence[str]) -> tuple[Any, Any, Any]:
    """Parse the words of a command without running it.

    Returns:
        Its function, its parser and its configuration.

    Raises:
        UsageError: the words do not fit the command.
        SystemExit: the help or the configuration was asked for, and printed.
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
        # Reports errors in the other words, and prints help, before torch is imported for the types of classes.
        _read(name, sketch, others)
    parser, config = _read(name, function, words)
    return function, parser, config


def _read(name: str, function: Any, words: list[str]) -> tuple[Any, Any]:
    """A command's parser and its parse of the words."""
    import jsonargparse

    from surgvl.cli.help import parser as parser_of

    # Refuses words before the parser is built, which takes longer.
    spelled = spell_out(words, function)
    command, shipped = COMMANDS[name], recipes(name)
    notes = [f"--recipe NAME is short for --config with a recipe that ships: {', '.join(shipped)}"] if shipped else []
    flag, package = command.classes
    if package:
        known = ", ".join(class_names(importlib.import_module(package)))
        notes.append(f"--{flag} is one of {known}, or a dotted path; --{flag}.help CLASS shows its arguments.")
    if more := group(name):
        notes.append(f"See also: {', '.join(f'surgvl {each} --help' for each in more)}")
    parser = parser_of(name, function, command.words, tuple(examples(name)), tuple(notes))
    try:
        config = parser.parse_args(spelled)
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
        # jsonargparse does not check the shape of a file's values.
        raise UsageError(f"a value has the wrong type ({error}): see surgvl {name} --help") from error
    except jsonargparse.ArgumentError as error:
        flags = [f"--{each}" for each in (*parser.get_defaults(skip_validation=True).keys(), "recipe")]
        bare = [word.removesuffix("...") for word in command.words]
        raise UsageError(explain(str(error), name, command.example, flags, bare)) from error
    config.pop("config", None)
    return parser, config


def run(argv: Sequence[str]) -> Any:
    """Run one command, given as it would be typed after `surgvl`, and return what its function returns.

    Raises:
        UsageError: the words do not fit the command.
        SurgVLError: the command failed, or a package that it needs is not installed.
    """
    if FETCH in argv:
        # Imported here because the bare command starts without pydantic.
        from surgvl.models.store import with_network

        with with_network():
            return run([word for word in argv if word != FETCH])
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
    """Print our own warnings as one line, like errors, and those of packages as Python does."""
    ours = issubclass(category, SurgVLWarning)
    text = f"surgvl: {message}\n" if ours else warnings.formatwarning(message, category, filename, lineno, line)
    print(text, end="", file=file or sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        Exit status: 0; 1: the command failed; 2: usage error; 130: Ctrl-C; 141: standard output was closed; 143:
        SIGTERM ended training.
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
        # The reader, such as `head`, has closed the pipe: the interpreter must not flush the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(argv: list[str]) -> int:
    keys = in_words(argv)
    if keys and not wipe(keys):
        print(f"surgvl: the key is visible in the process list: set {VARIABLE} or pass @FILE", file=sys.stderr)
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
        print(f"surgvl: stopped{_way_on(argv)}", file=sys.stderr)
        return 130
    except Terminated as end:
        way = _way_on(argv)
        print(f"surgvl: stopped by SIGTERM {end.reached}{way}", file=sys.stderr)
        return 143
    return 0


def _way_on(argv: Sequence[str]) -> str:
    """How to go on with a command that was stopped; empty if it cannot be continued."""
    module, _, name = COMMANDS[_split([word for word in argv if word != FETCH])[0]].target.partition(":")
    if name in ("quickstart", "models_fetch"):
        return "; run the same command to continue"
    # A command that was not imported yet has written nothing.
    function = vars(sys.modules[module]).get(name) if module in sys.modules else None
    resumes = function is not None and "resume" in inspect.signature(function).parameters
    return "; run the same command with --resume to continue" if resumes else ""


if __name__ == "__main__":
    sys.exit(main())
