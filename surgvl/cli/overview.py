"""How the table of commands is printed."""

from collections.abc import Collection

from surgvl.cli.table import COMMANDS
from surgvl.core.version import __version__


def overview() -> str:
    """The commands in the order of the pipeline, with examples."""
    first = ("quickstart", "demo")
    lines = [
        f"surgvl {__version__}: ask, search and measure surgical video. Not for clinical use.",
        "",
        "  start here",
        *_rows(first),
        "",
        "  step by step",
        *_rows([name for name in COMMANDS if name not in first]),
        "",
        "surgvl COMMAND --help shows all arguments; --print_config prints them as a file for --config.",
        "Models are fetched by surgvl models fetch, or where a command names them with --fetch, and at no other time.",
        "A flag of a group may be typed without the group if that is unambiguous: --steps for --run.steps.",
        "Exit status: 0 done; 1 failed, or some files of many could not be read (they are listed); 2 usage error;",
        "130 stopped by Ctrl-C; 143 training stopped by SIGTERM.",
    ]
    return "\n".join(lines)


def group(word: str) -> list[str]:
    """Commands of two words that start with the given word."""
    return [name for name in COMMANDS if name.startswith(f"{word} ")]


def group_help(word: str) -> str:
    """The commands that start with the given word, with examples."""
    lines = [f"usage: surgvl {word} COMMAND", "", *_rows(group(word)), ""]
    return "\n".join([*lines, f"surgvl {word} COMMAND --help shows all arguments."])


def examples(name: str) -> list[str]:
    """Command lines that work as they are."""
    command = COMMANDS[name]
    return [f"surgvl {name} {each}".rstrip() for each in (command.example, *filter(None, [command.also]))]


def _rows(names: Collection[str]) -> list[str]:
    wide = max(map(len, COMMANDS))
    lines = []
    for name in names:
        lines.append(f"  {name:{wide}}  {COMMANDS[name].summary}")
        lines += [f"  {'':{wide}}    {each}" for each in examples(name)]
    return lines
