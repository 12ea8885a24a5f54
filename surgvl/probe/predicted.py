"""Predictions of a readout as files, one for each head, which `surgvl eval --predictions` scores again.

Shapes: N clips, C classes of a head.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array, softmax
from surgvl.core.predictions import Predictions, write_predictions
from surgvl.probe.labels import Head


def said(head: Head, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the logits of a head mean: probabilities [N, C], which add up to 1 if one class is right; or numbers [N]."""
    if head.kind == "number":
        return np.asarray(logits[:, 0] * head.std + head.mean, np.float32)
    if head.kind == "one":
        return np.asarray(softmax(logits), np.float32)
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)


def write_all(
    folder: Path,
    heads: Sequence[Head],
    video_ids: Sequence[str],
    times_s: Float64Array,
    logits: Mapping[str, NDArray[np.float32]],
    facts: Mapping[str, Any],
) -> None:
    """Write `HEAD.parquet` for each head.

    Args:
        folder: created if missing.
        heads: the heads.
        video_ids: [N], of the clips.
        times_s: float64 [N], the moments that they stand for.
        logits: [N, C] by head.
        facts: metadata of the files (`surgvl.core.predictions`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for head in heads:
        values, is_number = said(head, logits[head.name]), head.kind == "number"
        found = Predictions(
            kind=head.name,
            video_ids=video_ids,
            times_s=times_s,
            class_names=() if is_number else head.classes,
            scores=None if is_number else values,
            values=values.astype(np.float64) if is_number else None,
            facts=facts,
        )
        write_predictions(folder / f"{head.name}.parquet", found)
