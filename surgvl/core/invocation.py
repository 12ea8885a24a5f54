"""The command that is running, typed or called from Python: its words, and its arguments as `config.yaml` holds them.

The command line knows them as they were typed. A stage that is called from Python, by a person or by another stage,
is `recorded`: they are taken from the call.
"""

import contextlib
import functools
import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml

from surgvl.core.credentials import mask

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Invocation:
    """A command that is running.

    Args:
        words: the words that were typed, or `python` and the call; without keys.
        config: all arguments as YAML, which `--config` takes.
    """

    words: Sequence[str]
    config: str


# In the context of the call, so that stages in threads or in one another do not see each other's.
_CURRENT: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


def current() -> Invocation:
    """The innermost command that is running; plain `python` outside of all commands."""
    return _CURRENT.get() or Invocation(["python"], "{}\n")


def command_line() -> str:
    """The running command as it was typed, for tables, locks and run.json; `python` and the call from Python."""
    return shlex.join(current().words)


@contextlib.contextmanager
def running(invocation: Invocation) -> Iterator[None]:
    """A block in which a command runs."""
    token = _CURRENT.set(invocation)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class Named(str):
    """A class given by its dotted path, so that a default does not import torch."""


def recorded(stage: Callable[P, R]) -> Callable[P, R]:
    """Record the arguments of a call, including defaults, for the run folder of a stage.

    The command line calls the stage itself (`inspect.unwrap`), because it knows the arguments as they were typed.

    Args:
        stage: a command's function.
    """

    @functools.wraps(stage)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = inspect.signature(stage).bind(*args, **kwargs)
        spelt = ", ".join(f"{name}={value!r}" for name, value in yaml_value(bound.arguments).items())
        bound.apply_defaults()
        config = yaml.safe_dump(yaml_value(bound.arguments), sort_keys=False)
        outer = _CURRENT.get()
        words = outer.words if outer else ["python", mask(f"{stage.__module__}.{stage.__name__}({spelt})")]
        with running(Invocation(words, mask(config))):
            return stage(*args, **kwargs)

    return call


def yaml_value(value: Any) -> Any:
    """A value for YAML: paths as text, settings as mappings, classes in the form that `--config` takes.

    Keys (`api_key`) are left empty.
    """
    if isinstance(value, Named):
        return {"class_path": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return yaml_value({field.name: vars(value)[field.name] for field in fields(value)})
    if isinstance(value, Mapping):
        return {str(key): "" if key == "api_key" else yaml_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [yaml_value(each) for each in value]
    if isinstance(value, functools.partial):
        return {**yaml_value(value.func), "init_args": yaml_value(value.keywords)}
    if isinstance(value, type):
        return {"class_path": f"{value.__module__}.{value.__qualname__}"}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return {"class_path": f"{type(value).__module__}.{type(value).__qualname__}"}
