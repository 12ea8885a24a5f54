"""Videos as callers give them, and one clip of them as a model takes it; nothing here imports torch.

Shapes: T frames, S their side in pixels.
"""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from surgvl.video.clip import Preprocess, extract_clip

if TYPE_CHECKING:
    import torch

VideoLike: TypeAlias = "str | Path | NDArray[np.uint8] | torch.Tensor"
"""A file, or frames uint8 [T, H, W, 3] that are taken as one clip."""


def cut_frames(source: VideoLike, preprocess: Preprocess, at_s: float | None = None) -> NDArray[np.uint8]:
    """One clip as a model takes it, uint8 [T, S, S, 3]; see `surgvl.video.clip.extract_clip`."""
    if isinstance(source, str | Path | np.ndarray):
        return extract_clip(source, preprocess, at_s)
    # A tensor is told by its method, because importing its type takes seconds.
    frames = source.detach().cpu().numpy() if hasattr(source, "detach") else np.asarray(source)
    return extract_clip(frames, preprocess, at_s)
