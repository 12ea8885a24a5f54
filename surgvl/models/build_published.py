"""A model of a published family from its model folder."""

from pathlib import Path
from typing import Any

import surgvl.models.adapters
from surgvl.core.errors import CheckpointError
from surgvl.core.registry import discover
from surgvl.models.schema import read_checked
from surgvl.models.video_text import VideoText


def build_published(folder: Path) -> VideoText:
    """Build the published model of a folder; without weights, unless they lie in `tower/`.

    Raises:
        CheckpointError: there is no such family, or its files cannot be read.
    """
    path = folder / "config.json"
    config: dict[str, Any] = read_checked(path, dict[str, Any])
    for spare in ("model_type", "architectures", "hidden_size"):
        config.pop(spare, None)
    name, known = config.pop("family", None), discover(surgvl.models.adapters, VideoText)  # type: ignore[type-abstract]
    if name not in known:
        raise CheckpointError(f"{path}: family must be one of {', '.join(known)}, got {str(name)[:40]!r}: correct it")
    return known[name].from_config(config, folder)
