"""Modules without initial weights: of shapes alone, to compare them with a file, or for a file's weights to fill."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What draws initial weights, the last one for truncated normals. On the meta device it would import torch's compiler,
# which takes seconds.
_DRAWN = {nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, Tensor.normal_, Tensor.uniform_, Tensor.erfinv_}


class _Undrawn(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        if func in _DRAWN:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """A context in which modules are built on the meta device, without initial weights."""
    with torch.device("meta"), _Undrawn():
        yield


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """A context for building modules whose weights are all read afterwards: drawing them first would take longer."""
    with _Undrawn():
        yield
