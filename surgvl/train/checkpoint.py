"""The checkpoint that a run goes on from: read whole and compared with the model before anything is trained.

It is an archive of torch with checksums, which torch does not look at. No code in it is run: whatever is no such
archive is not unpickled at all, and the archive is read by torch's reader of tensors and plain values alone.
"""

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import CheckpointError

# Of what Lightning writes, the parts that it reads again.
PARTS: dict[str, type] = {
    "state_dict": Mapping,
    "optimizer_states": list,
    "loops": Mapping,
    "global_step": int,
    "epoch": int,
    "pytorch-lightning_version": str,
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


def check_checkpoint(path: Path, weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> bool:
    """Whether there is a checkpoint to go on from.

    Args:
        path: its file.
        weights: what the run trains, by name.
        optimiser: how.

    Raises:
        CheckpointError: it is damaged, another program's, or of another model or optimiser.
    """
    if not path.exists() and not path.is_symlink():
        return False
    remedy = "nothing of it was run or changed; move it away to begin anew, or give another --out"
    try:
        kept = _read(path)
        odd = [name for name, kind in PARTS.items() if not isinstance(kept.get(name), kind)]
        if odd:
            raise ValueError(f"without {', '.join(odd)}")
        given = kept["state_dict"]
        groups = [_groups(state) for state in kept["optimizer_states"]]
    except ERRORS as error:
        fact = next(iter(str(error).splitlines()), "").split(". ")[0].rstrip(".: ")[:200] or type(error).__name__
        raise CheckpointError(f"{path} is damaged, or no checkpoint of this program ({fact}): {remedy}") from error
    for name in sorted(given.keys() ^ weights.keys()):
        raise CheckpointError(
            f"{path} does not fit this model: {name} is in {'it' if name in given else 'the model'} alone; {remedy}"
        )
    for name, value in weights.items():
        shape = tuple(given[name].shape) if isinstance(given[name], Tensor) else type(given[name]).__name__
        if isinstance(value, Tensor) and shape != tuple(value.shape):
            raise CheckpointError(
                f"{path} does not fit this model: {name} is {shape} in it and {tuple(value.shape)} here; {remedy}"
            )
    if groups != [_groups(optimiser.state_dict())]:
        raise CheckpointError(f"{path} is of other settings of --optim, or of what is trained: give those, or {remedy}")
    return True


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError("it is a folder" if path.is_dir() else "a link to nothing")
    if not path.stat().st_size:
        raise ValueError("0 bytes")
    if not zipfile.is_zipfile(path):
        raise ValueError("no archive of tensors, or cut short")
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {name} is another")
    kept = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(kept, Mapping):
        raise ValueError(f"it holds a {type(kept).__name__}")
    return kept


def _groups(state: Mapping[str, Any]) -> list[list[int]]:
    """Number of tensors in each group of each part of an optimiser."""
    return [[len(group["params"]) for group in part["param_groups"]] for part in state.get("parts", [state])]
