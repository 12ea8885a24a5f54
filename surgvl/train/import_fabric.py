"""Lightning's Fabric is imported without the trainer and the metrics that Lightning imports before it.

A module of a package is imported after the package's `__init__`. That of `lightning` imports its trainer, which imports
torchmetrics, which imports torchvision, transformers and scikit-learn; and Fabric itself imports torchmetrics to read
its version. Training uses none of them, and each of its processes would spend five seconds on 2,500 modules.
"""

import importlib.util
import sys
from importlib.metadata import version
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package whose modules can be imported before its `__init__`, which the first missing name runs."""

    def __getattr__(self, name: str) -> Any:
        if inner := sys.modules.get(f"{self.__name__}.{name}"):
            return inner  # which is being imported
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def lazy_package(name: str) -> None:
    """Let a package be a `LazyPackage` that knows its version, unless it has been imported already.

    Raises:
        ImportError: there is no such package.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"no package {name}", name=name)
    package = importlib.util.module_from_spec(spec)
    package.__version__ = version(name)  # type: ignore[attr-defined]
    package.__class__ = LazyPackage
    sys.modules[name] = package


def forget_package(name: str) -> None:
    """Let a `LazyPackage` of which no module was imported be imported as ever, `__init__` first, from now on."""
    if isinstance(sys.modules.get(name), LazyPackage):
        del sys.modules[name]
