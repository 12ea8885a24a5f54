"""Discovers subclasses in the files of a package: adding a file adds a choice."""

import ast
import importlib
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError

T = TypeVar("T")


def discover(package: ModuleType, base: type[T]) -> dict[str, type[T]]:
    """Import every module of a package and list the concrete subclasses of `base` defined in it.

    Args:
        package: an imported package, such as `surgvl.tasks`.
        base: the contract; its subclasses with a non-empty `name` attribute are the choices.

    Returns:
        Public name (the class attribute `name`, equal to the file name) -> class, sorted by name.

    Raises:
        ConfigError: two classes have the same name.
    """
    found: dict[str, type[T]] = {}
    for info in pkgutil.iter_modules(package.__path__, prefix=package.__name__ + "."):
        if info.name.rsplit(".", 1)[1].startswith("_"):
            continue
        module = sys.modules.get(info.name) or importlib.import_module(info.name)
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and issubclass(value, base):
                name = vars(value).get("name", "")
                if not name:
                    continue
                if name in found:
                    raise ConfigError(f"{name!r} is the name of both {found[name]!r} and {value!r}: rename one")
                found[name] = value
    return dict(sorted(found.items()))


@cache
def class_names(package: ModuleType) -> tuple[str, ...]:
    """Names of the classes that `discover` finds, read from source, so that nothing (such as torch) is imported."""
    return tuple(
        node.name
        for path in sorted(Path(package.__path__[0]).glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(re.match(r"name(: str)? = '.+'$", ast.unparse(each)) for each in node.body)
    )


def choose(package: ModuleType, base: type[T], name: str) -> type[T]:
    """The subclass called `name`, or the one at a dotted path (`my.module.Mine`).

    Raises:
        ConfigError: there is none; the message lists the choices and the most similar one.
    """
    if "." in name:
        module_name, _, attribute = name.rpartition(".")
        try:
            value = vars(importlib.import_module(module_name)).get(attribute)
        except ImportError as error:
            raise ConfigError(
                f"{name!r} cannot be imported ({error}): use a known name or an importable path"
            ) from error
        if not (isinstance(value, type) and issubclass(value, base)):
            raise ConfigError(f"{name!r} must be a subclass of {base.__name__}")
        return value
    choices = discover(package, base)
    if name not in choices:
        hint = did_you_mean(name, choices, "choose one of them")
        noun = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", base.__name__).lower()
        raise ConfigError(f"unknown {noun} {name!r}; known are {', '.join(choices)}: {hint}")
    return choices[name]
