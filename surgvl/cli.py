"""The command line: a table of commands, each a typed function that is imported only when it is called."""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgvl import __version__, io
from surgvl.errors import SurgVLError


@dataclass(frozen=True)
class Command:
    """A command: where its function is, what it is for, how it is typed, and which flags may go without their names."""

    target: str
    summary: str
    example: str
    words: tuple[str, ...] = ()


# In the order of the pipeline.
COMMANDS = {
    "quickstart": Command(
        "surgvl.quickstart:quickstart", "the whole path below on made videos, in minutes", "--out runs/quickstart"
    ),
    "phantom": Command("surgvl.data.phantom_run:phantom", "render operations with exact labels", "--out phantom"),
    "data list": Command("surgvl.data.run:data_list", "data sets that can be read, with their licences", ""),
    "data check": Command(
        "surgvl.data.run:data_check", "what a data set holds and what does not fit", "cholec80 ROOT", ("name", "root")
    ),
    "data convert": Command(
        "surgvl.data.run:data_convert", "a data set to a manifest", "phantom phantom manifest", ("name", "root", "out")
    ),
    "pretrain": Command(
        "surgvl.pretrain.run:pretrain",
        "train a video encoder from video alone",
        "--recipe surgrec_mae_phantom --manifest manifest --out mae",
    ),
    "align": Command(
        "surgvl.align.run:align", "give video and sentences one space", "--manifest manifest --encoder mae --out dual"
    ),
    "embed": Command("surgvl.embed:embed", "videos to vectors", "--model dual --manifest manifest --out vectors"),
    "tune": Command(
        "surgvl.chat.run:tune", "teach a language model to answer", "--manifest manifest --encoder dual --out chat"
    ),
    "ask": Command(
        "surgvl.chat.ask:ask",
        "a question about a video, or all of a manifest",
        "VIDEO QUESTION --model chat",
        ("video", "question"),
    ),
    "eval": Command(
        "surgvl.tasks.run:evaluate",
        "scores with baselines and intervals",
        "--vectors vectors --manifest manifest --out eval",
    ),
    "index": Command(
        "surgvl.retrieval.run:index",
        "vectors to a searchable index",
        "--vectors vectors --manifest manifest --out index",
    ),
    "search": Command(
        "surgvl.retrieval.run:search",
        "moments like a sentence or a clip",
        '"the clipper clips the cystic duct" --index index',
        ("query",),
    ),
    "demo": Command("surgvl.demo.app:demo", "the page: ask, search, timeline", "--run runs/quickstart"),
}
RECIPES = Path(__file__).parent / "recipes"


def overview() -> str:
    """The pipeline in order, with one example a command."""
    wide = max(map(len, COMMANDS))
    lines = [
        f"surgvl {__version__}: ask, search and measure surgical video. Not for clinical use.",
        "",
        "  start here",
        *(_row(name, wide) for name in ("quickstart", "demo")),
        "",
        "  the path, step by step",
        *(_row(name, wide) for name in COMMANDS if name not in ("quickstart", "demo")),
        "",
        "surgvl COMMAND --help shows every argument; --print_config prints a file that --config takes.",
    ]
    return "\n".join(lines)


def _row(name: str, wide: int) -> str:
    command = COMMANDS[name]
    return f"  {name:{wide}}  {command.summary}\n  {'':{wide}}    surgvl {name} {command.example}".rstrip()


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Command name (of one or two words) and the rest."""
    for words in (2, 1):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, list(argv[words:])
    group = [name for name in COMMANDS if name.startswith(argv[0] + " ")]
    if group:
        raise UsageError(f"'{argv[0]}' is followed by one of {', '.join(n.split()[1] for n in group)}: add it")
    near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"commands are {', '.join(COMMANDS)}"
    raise UsageError(f"there is no command {argv[0]!r}: {hint}")


class UsageError(Exception):
    """Wrong words on the command line; exit status 2."""


def _recipe(argv: list[str]) -> list[str]:
    """Replace `--recipe NAME` by `--config FILE` of the shipped recipe."""
    out: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--recipe" or word.startswith("--recipe="):
            name = word.partition("=")[2] or next(words, "")
            path = RECIPES / f"{name}.yaml"
            if not path.is_file():
                known = sorted(file.stem for file in RECIPES.glob("*.yaml"))
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "choose one"
                raise UsageError(f"there is no recipe {name!r}; there are {', '.join(known)}: {hint}")
            out += ["--config", str(path)]
        else:
            out.append(word)
    return out


def run(argv: Sequence[str]) -> Any:
    """Run one command, given as it would be typed after `surgvl`, and return what its function returns.

    Raises:
        UsageError: the words do not fit the command.
        SurgVLError: the command cannot do what was asked.
    """
    name, rest = _split(argv)
    module, _, attribute = COMMANDS[name].target.partition(":")
    wants_help = any(word in ("-h", "--help") for word in rest)
    rest = _recipe(rest)
    function = vars(importlib.import_module(module))[attribute]

    import jsonargparse

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=False)
    parser = jsonargparse.ArgumentParser(prog=f"surgvl {name}", exit_on_error=False, description=_first(function))
    parser.add_argument("--config", action="config", help="a YAML file with arguments; what is typed after it wins")
    added = parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    try:
        config = parser.parse_args(_name_words(rest, COMMANDS[name]))
    except jsonargparse.ArgumentError as error:
        raise UsageError(_one_line(str(error), [f"--{a}" for a in added], name)) from error
    assert not wants_help
    config.pop("config", None)
    before = io.INVOCATION
    io.INVOCATION = io.Invocation(["surgvl", *argv], parser.dump(config, skip_validation=True))
    try:
        return function(**_arguments(parser, config))
    finally:
        io.INVOCATION = before


def _name_words(argv: list[str], command: Command) -> list[str]:
    """Give the leading bare words the names of their flags.

    Raises:
        UsageError: there are more words than the command has names for.
    """
    bare = next((at for at, word in enumerate(argv) if word.startswith("-")), len(argv))
    if bare > len(command.words):
        allowed = " ".join(word.upper() for word in command.words) or "none"
        raise UsageError(
            f"{argv[len(command.words)]!r} has no place: bare words here are {allowed}; others need a flag"
        )
    named = [f"--{flag}={word}" for flag, word in zip(command.words, argv[:bare], strict=False)]
    return named + argv[bare:]


def _arguments(parser: Any, config: Any) -> dict[str, Any]:
    instantiated = parser.instantiate(config)
    return {key: instantiated[key] for key in vars(instantiated) if key != "config"}


def _first(function: Any) -> str:
    return (function.__doc__ or "").strip().split("\n\n")[0]


def _one_line(text: str, flags: list[str], name: str) -> str:
    """An argument parser's message on one line, with the nearest flag and where to look."""
    line = " ".join(text.split())
    unknown = [word for word in line.split() if word.startswith("--")]
    if "nrecognized" in line and unknown:
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f"did you mean {near[0]}?" if near else f"surgvl {name} --help lists what there is"
        return f"unknown flag {unknown[0]}: {hint}"
    return f"{line} (surgvl {name} --help)"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, 1 for what went wrong, 2 for usage, 130 for Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    try:
        run(argv)
    except (UsageError, SurgVLError) as error:
        if os.environ.get("SURGVL_DEBUG") == "1":
            raise
        print(f"surgvl: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("surgvl: stopped; the same command with --resume goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
