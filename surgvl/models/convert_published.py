"""A published model's files -> a model folder, by the family of the registry that it belongs to."""

from pathlib import Path

import surgvl.models.adapters
from surgvl.core.errors import CheckpointError
from surgvl.core.registry import choose
from surgvl.models.checkpoint import save_model
from surgvl.models.published import Published
from surgvl.models.video_text import VideoText
from surgvl.video.clip import Preprocess


def convert(entry: Published, weights: Path, files: Path, folder: Path) -> None:
    """Write the model folder of a published model; only its weights are copied, its other files stay as they are.

    Args:
        entry: the model.
        weights: its weights file.
        files: folder with all of its files.
        folder: the new folder, which exists.

    Raises:
        CheckpointError: the weights are not those of the family, or a file is missing.
        ConfigError: there is no such family.
    """
    family = choose(surgvl.models.adapters, VideoText, entry.family)  # type: ignore[type-abstract]
    model, preprocess = family.convert(weights, files, entry.arguments, folder)
    own = preprocess if entry.preprocess is None else Preprocess(**entry.preprocess)
    taken, shown = ((each.num_frames, each.size_px) for each in (preprocess, own))
    if model.sees == "clips" and taken != shown:
        raise CheckpointError(
            f"{weights} takes clips of {taken[0]} frames of {taken[1]} px, and {entry.name} is one of {shown[0]} of "
            f"{shown[1]} px: give the weights of {entry.name}"
        )
    save_model(model, folder, own, has_weights=model.in_tower)
