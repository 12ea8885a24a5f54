"""Weights of a published model into the module of its family: every name is used, and none is missing."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from surgvl.core.errors import CheckpointError
from surgvl.models.checkpoint import check_fit
from surgvl.models.checkpoints.io import read_weights
from surgvl.models.foreign import check_finite


def read_state(path: Path, stale: str) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        path: the file.
        stale: a name that files of some ages hold, and that is left out.

    Raises:
        CheckpointError: the file cannot be read, or holds anything but tensors.
    """
    found = read_weights(path)
    if other := [str(name) for name, value in found.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} holds more than tensors ({', '.join(other[:3])}): give the authors' own file")
    return {name: value for name, value in found.items() if name != stale}


def shape_of(state: Mapping[str, Tensor], name: str, num_axes: int, path: Path) -> tuple[int, ...]:
    """The shape of a tensor.

    Raises:
        CheckpointError: it is missing, or has a different number of axes.
    """
    if name not in state or state[name].ndim != num_axes:
        raise CheckpointError(
            f"{path} lacks {name} with {num_axes} axes: give the file that the authors of this model publish"
        )
    return tuple(state[name].shape)


def numbered(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbers come next in the names with a prefix: the layers of a tower."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)})


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy the tensors of a file into a model.

    Raises:
        CheckpointError: a name is missing or unknown, a shape differs, or there is NaN or infinity.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    check_fit(model, shapes, path, "give the file that the authors of this model publish")
    check_finite(state, path)
    model.load_state_dict(dict(state))
