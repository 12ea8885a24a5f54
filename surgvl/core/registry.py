"""Find subclasses in sibling files, so that a new file is a new choice: the file is the registration."""

import ast
import importlib
import pkgutil
import re
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
        base: the contract; classes whose `name` attribute is a non-empty string are choices.

    Returns:
        Public name (the class attribute `name`, equal to the file name) -> class, sorted by name.

    Raises:
        ConfigError: two classes claim the same name.
    """
    found: dict[str, type[T]] = {}
    for info in pkgutil.iter_modules(package.__path__, prefix=package.__name__ + "."):
        if info.name.rsplit(".", 1)[1].startswith("_"):
            continue
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__:
                name = vars(value).get("name", "")
                if not name:
                    continue
                if name in found:
                    raise ConfigError(f"{name!r} is the name of both {found[name]!r} and {value!r}: rename one")
                found[name] = value
    return dict(sorted(found.items()))


def class_names(package: ModuleType) -> list[str]:
    """Names of the classes that `discover` finds, from the files' text: what they import, such as torch, is not."""
    return [
        node.name
        for path in sorted(Path(package.__path__[0]).glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(re.match(r"name(: str)? = '.+'$", ast.unparse(each)) for each in node.body)
    ]


def choose(package: ModuleType, base: type[T], name: str) -> type[T]:
    """Return the subclass called `name`, or one found by dotted path (`my.module.Mine`).

    Raises:
        ConfigError: there is no such name; the message lists the choices and the nearest one.
    """
    if "." in name:
        module_name, _, attribute = name.rpartition(".")
        try:
            value = vars(importlib.import_module(module_name)).get(attribute)
        except ImportError as error:
            raise ConfigError(f"{name!r} cannot be imported ({error}): give a name or an importable path") from error
        if not (isinstance(value, type) and issubclass(value, base)):
            raise ConfigError(f"{name!r} is not a subclass of {base.__name__}: give a class that is")
        return value
    choices = discover(package, base)
    if name not in choices:
        hint = did_you_mean(name, choices, "choose one of them")
        raise ConfigError(f"unknown {base.__name__} {name!r}; known are {', '.join(choices)}: {hint}")
    return choices[name]
