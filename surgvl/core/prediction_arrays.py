"""Predictions as NumPy arrays, the form that ivtmetrics scores: [seconds, classes] for each video, first second first.

A `.npz` file holds an array for each video, under its id; a `.npy` file is one video, and is named after it. The
classes are those of CholecT50 in the order of its ids: 100 triplets, or 6 instruments, 10 verbs or 15 targets (Nwoye
and Padoy, arXiv 2204.05235).
"""

import zipfile
from pathlib import Path

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.ontology import INSTRUMENTS, TARGETS, TRIPLET_NAMES, VERBS
from surgvl.core.prediction_table import PredictionTable

_KINDS = {"triplet": TRIPLET_NAMES, "instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS}


def read_arrays(path: Path) -> tuple[PredictionTable, str]:
    """Read a `.npz` or `.npy` file of scores.

    Returns:
        The scores, at whole seconds from 0, and their kind of label.

    Raises:
        DataError: the file cannot be read, or an array is not [seconds, classes] of one kind.
    """
    try:
        read = np.load(path, allow_pickle=False)
        arrays = {path.stem: read} if isinstance(read, np.ndarray) else {name: read[name] for name in read.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({error}): save arrays of numbers by np.save or np.savez") from error
    sizes = {len(names): kind for kind, names in _KINDS.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[1] not in sizes or array.dtype.kind not in "bfiu":
            raise DataError(
                f"{path}: array {name} must be numbers [seconds, classes] with {', '.join(map(str, sizes))} classes, "
                f"got {array.dtype} {list(array.shape)}: save one array for each video"
            )
    widths = {array.shape[1] for array in arrays.values()}
    if len(widths) != 1:
        raise DataError(f"{path}: arrays must share their classes, got {sorted(widths)}: save one file for each kind")
    kind = sizes[widths.pop()]
    videos = [name for name, array in arrays.items() for _ in array]
    times_s = np.concatenate([np.arange(len(array), dtype=np.float64) for array in arrays.values()])
    scores = np.concatenate([array.astype(np.float32) for array in arrays.values()])
    return PredictionTable(videos, times_s, list(_KINDS[kind]), scores), kind
