"""The help of a command: positional words, kinds of values in plain words, examples that can be typed."""

import inspect
import re
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonargparse

# Placeholder of a value, by the name of its type.
VALUES = {
    "int": "INTEGER",
    "float": "NUMBER",
    "str": "TEXT",
    "Path": "PATH",
    "str | dict": "CLASS",
    "Union[str, dict]": "CLASS",
    "list[str]": "TEXT ...",
    "list[Path]": "PATH ...",
    "Union[str, float]": "TIME",
    "dict[str, float]": "{NAME:NUMBER,...}",
    "tuple[str, ...]": "TEXT ...",
    "tuple[tuple[str, float, float], ...]": "VIDEO,START,END ...",
    "tuple[int, ...]": "INTEGER ...",
    "tuple[float, ...]": "NUMBER ...",
}
FIXED = {
    "--help": "show this help and exit",
    "--config": "a YAML file of arguments; arguments typed after it override it",
    "--print_config": "print all arguments as a YAML file for --config, and exit",
}


class Formatter(jsonargparse.DefaultHelpFormatter):
    """Shows each flag with the kind of its value and its default."""

    words: tuple[str, ...] = ()

    def _format_action_invocation(self, action: Any) -> str:
        flags = [flag for flag in action.option_strings if not flag.endswith("+")]
        word = [action.dest.upper()] if action.dest in self.words else []
        return f"{', '.join([*word, *flags])} {self._value(action, flags[-1])}".strip()

    def _value(self, action: Any, flag: str) -> str:
        if flag in ("--help", "--print_config"):
            return ""
        if flag.endswith(".help"):
            return "[CLASS]"
        kind = self._get_type_str(action)
        if kind is None:
            return "FILE"
        kind = re.sub(r"^(?:Optional\[|<class ')(.*)(?:\]|'>)$|, null(?=\]$)| \| null$", r"\1", kind)
        if kind == "bool":
            # The flag alone means true.
            return "{true,false}" if action.default else ""
        if choices := re.match(r"Literal\[(.*)\]$", kind):
            return "{" + choices[1].replace("'", "").replace(" ", "") + "}"
        if several := re.match(r"tuple\[((?:int|float)(?:, (?:int|float))*)\]$", kind):
            return several[1].replace("int", "INTEGER").replace("float", "NUMBER").replace(",", "")
        return VALUES.get(kind, kind)

    def _get_help_string(self, action: Any) -> str:
        flag = action.option_strings[-1]
        if flag in FIXED:
            return FIXED[flag]
        if flag.endswith(".help"):
            return f"show the arguments of a class for {flag.removesuffix('.help')}, and exit"
        if self._get_type_str(action) is None:
            return f"a YAML file of values {flag}.NAME"
        text, default = action.help or "", action.default
        if ". " not in text:
            # A phrase, not sentences.
            text = text.removesuffix(".")
        if action.required:
            return f"{text} (required)"
        if default is None or default is False or default in ("", [], ()) or isinstance(default, dict):
            return str(text)
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        return f"{text} (default: {'true' if default is True else shown})"

    def _expand_help(self, action: Any) -> str:
        # Without percent formatting.
        return self._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wraps paragraphs, except indented lines, which are commands to type."""
        parts = text.split("\n\n")
        return "\n\n".join(part if "\n  " in part else textwrap.fill(part, width) for part in parts)


@cache
def parser(
    name: str, function: Callable[..., Any], words: tuple[str, ...], examples: tuple[str, ...], notes: tuple[str, ...]
) -> Any:
    """The parser of a command, built once: `quickstart` runs most commands twice.

    Args:
        name: the command.
        function: its function; the docstring is the help text.
        words: arguments that may be positional; one that ends with `...` takes several words.
        examples: command lines.
        notes: paragraphs below the examples.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=False)
    parameters = inspect.signature(function).parameters.values()
    bare = [word.removesuffix("...") for word in words]
    needed = [each.name for each in parameters if each.default is each.empty]
    typed = [word.upper() if each in needed else f"[{word.upper()}]" for word, each in zip(words, bare, strict=True)]
    flags = [f"--{each} {each.upper()}" for each in needed if each not in bare]
    usage = ["surgvl", name, *typed, *flags]
    purpose = re.split(r"\n *(?:Args|Raises|Returns):\n", inspect.getdoc(function) or "")[0]
    made = jsonargparse.ArgumentParser(
        prog=f"surgvl {name}",
        usage=" ".join([*usage, "[options]"]),
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=type("Formatter", (Formatter,), {"words": tuple(bare)}),
        description=purpose,
        epilog="\n\n".join(["\n  ".join(["examples:" if len(examples) > 1 else "example:", *examples]), *notes]),
    )
    made.add_argument("--config", action="config")
    made.add_function_arguments(function, as_group=False, fail_untyped=True)
    return made
