"""A stage's arguments as plain values, so that a run folder tells them however the stage was called.

From the command line they are known as they were typed (`surgvl.cli.main`). Called from Python, by a person or by
another stage, they are taken from the call.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml

from surgvl.core import files

P = ParamSpec("P")
R = TypeVar("R")


class Named(str):
    """A class by its dotted path: a default that brings no torch with it."""


def recorded(stage: Callable[P, R]) -> Callable[P, R]:
    """Let what a stage writes (`io.write_run`) hold the arguments of this call, defaults included.

    Args:
        stage: a command's function.
    """

    @functools.wraps(stage)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        before = files.INVOCATION
        if before is not None and before.stage is call:
            return stage(*args, **kwargs)
        bound = inspect.signature(stage).bind(*args, **kwargs)
        given = {name: plain(value) for name, value in bound.arguments.items()}
        bound.apply_defaults()
        config = {name: plain(value) for name, value in bound.arguments.items()}
        for values in (given, config):
            # Keys are not recorded.
            values.update({name: "" for name in values if name == "api_key"})
        spelt = ", ".join(f"{name}={value!r}" for name, value in given.items())
        words = ["python", f"{stage.__module__}.{stage.__name__}({spelt})"] if before is None else before.words
        files.INVOCATION = files.Invocation(words, yaml.safe_dump(config, sort_keys=False), call)
        try:
            return stage(*args, **kwargs)
        finally:
            files.INVOCATION = before

    return call


def plain(value: Any) -> Any:
    """A value as YAML has it: paths as text, settings as mappings, models and classes as `--config` takes them."""
    if isinstance(value, Named):
        return {"class_path": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, functools.partial):
        return {**plain(value.func), "init_args": plain(value.keywords)}
    if isinstance(value, type):
        return {"class_path": f"{value.__module__}.{value.__qualname__}"}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    made = {"class_path": f"{type(value).__module__}.{type(value).__qualname__}"}
    config = vars(value).get("config")
    return {**made, "init_args": plain(config)} if isinstance(config, Mapping) else made
