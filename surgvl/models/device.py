"""Put a model on a device; a device that is not there is one line."""

from typing import TypeVar

from torch import nn

from surgvl.core.errors import ConfigError, first_line

M = TypeVar("M", bound=nn.Module)


def place(model: M, device: str) -> M:
    """The model on a device, in evaluation mode.

    Raises:
        ConfigError: the device cannot be used.
    """
    try:
        # Models of transformers replace `to`, and type it for some of its arguments only.
        nn.Module.to(model, device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {device!r} cannot be used ({first_line(error)}): give cpu, or a device of this machine"
        ) from error
    return model.eval()
