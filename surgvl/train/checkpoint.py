"""The checkpoint of a run: replaced by renaming, and read whole and compared with the model before training resumes.

It is a torch archive, whose checksums torch itself ignores. No code in it is run: nothing but such an archive is
unpickled, and it is read with `weights_only=True`.
"""

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import CheckpointError, DataError, first_line

# What `surgvl.train.loop.fit` writes.
PARTS: dict[str, type] = {
    "objective": Mapping,
    "optimizer": Mapping,
    "precision": Mapping,
    "problems": Mapping,
    "guard": Mapping,
    "step": int,
}
ERRORS = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_checkpoint(fabric: Any, path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint next to the last one and rename it; all ranks must call this.

    Args:
        fabric: Fabric of the run.
        path: file to write.
        state: what to save, under the names of `PARTS`.

    Raises:
        DataError: the file cannot be written; the last checkpoint is kept.
    """
    temporary = path.with_name(".last.ckpt.tmp")
    try:
        fabric.save(temporary, state)
        if fabric.is_global_zero:
            temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written ({error.strerror}): free some space, then --resume") from error


def check_checkpoint(path: Path, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> bool:
    """Whether there is a checkpoint to resume from; it is read whole and compared with the model first.

    Args:
        path: file of the checkpoint.
        weights: state dict of the objective.
        optimizer: optimizer of the run.

    Raises:
        CheckpointError: the checkpoint is damaged, another program's, or another model's or optimizer's.
    """
    if not path.exists() and not path.is_symlink():
        return False
    remedy = "nothing in it was run or changed; move it away to start over, or give another --out"
    try:
        kept = _read(path)
        if "pytorch-lightning_version" in kept:
            raise CheckpointError(
                f"{path} is of an earlier version of surgvl, whose checkpoints cannot be resumed: finish the run with "
                f"the version in its run.json; {remedy}"
            )
        if odd := [name for name, kind in PARTS.items() if not isinstance(kept.get(name), kind)]:
            raise ValueError(f"it lacks {', '.join(odd)}")
        given = kept["objective"]
        groups = _group_sizes(kept["optimizer"])
    except ERRORS as error:
        fact = first_line(error)
        raise CheckpointError(f"{path} is damaged, or not a checkpoint of surgvl ({fact}): {remedy}") from error
    for name in sorted(given.keys() ^ weights.keys()):
        raise CheckpointError(
            f"{path} does not fit this model: {name} is only in the {'file' if name in given else 'model'}; {remedy}"
        )
    for name, value in weights.items():
        shape = tuple(given[name].shape) if isinstance(given[name], Tensor) else type(given[name]).__name__
        if isinstance(value, Tensor) and shape != tuple(value.shape):
            raise CheckpointError(
                f"{path} does not fit this model: {name} must be {tuple(value.shape)}, got {shape}; {remedy}"
            )
    if groups != _group_sizes(optimizer.state_dict()):
        raise CheckpointError(
            f"{path} was written with other --optim settings or trained parts: use the same; {remedy}"
        )
    return True


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError("it is a folder" if path.is_dir() else "a link to nothing")
    if not path.stat().st_size:
        raise ValueError("0 bytes")
    if not zipfile.is_zipfile(path):
        raise ValueError("not an archive of tensors, or truncated")
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {name} does not match")
    kept = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(kept, Mapping):
        raise ValueError(f"it holds a {type(kept).__name__}")
    return kept


def _group_sizes(state: Mapping[str, Any]) -> list[list[int]]:
    """Number of tensors in each parameter group of each part of an optimizer's state."""
    return [[len(group["params"]) for group in part["param_groups"]] for part in state.get("parts", [state])]
