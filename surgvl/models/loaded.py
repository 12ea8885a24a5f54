"""A model in this process with its preprocessing. Shapes: T frames that the model takes, S their side in pixels."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from surgvl.models.checkpoint import Model
from surgvl.models.model_info import model_hash
from surgvl.video.clip import Preprocess, extract_clip

VideoLike = str | Path | NDArray[np.uint8] | torch.Tensor
"""A file, or frames uint8 [T, H, W, 3] that are taken as one clip."""


def cut_frames(source: VideoLike, preprocess: Preprocess, at_s: float | None = None) -> NDArray[np.uint8]:
    """One clip as a model takes it, uint8 [T, S, S, 3]; see `surgvl.video.clip.extract_clip`."""
    return extract_clip(source.detach().cpu().numpy() if isinstance(source, torch.Tensor) else source, preprocess, at_s)


class LoadedModel:
    """A model with its preprocessing.

    Args:
        model: in evaluation mode.
        preprocess: how clips are cut.
        folder: where it came from.
        device: torch device.
    """

    def __init__(self, model: Model, preprocess: Preprocess, folder: Path, device: str):
        self.model, self.preprocess, self.folder, self.device = model, preprocess, folder, device

    @property
    def hash(self) -> str:
        """Hash of the folder's configuration and weights."""
        return model_hash(self.folder)

    def frames(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.uint8]:
        """One clip as the model takes it, uint8 [T, S, S, 3].

        Args:
            source: a path; or frames uint8 [T, H, W, 3], resampled in time and size.
            at_s: centre of the clip in a file, seconds; the middle of the file by default.

        Raises:
            DataError: the array is not frames, or the file cannot be read there.
        """
        return cut_frames(source, self.preprocess, at_s)

    def clip(self, source: VideoLike, at_s: float | None = None) -> torch.Tensor:
        """The same clip as a batch of one on the model's device, uint8 [1, 3, T, S, S]."""
        return self.batch([self.frames(source, at_s)])

    def batch(self, clips: list[NDArray[np.uint8]]) -> torch.Tensor:
        """B clips as `frames` cuts them, on the model's device, uint8 [B, 3, T, S, S]."""
        return torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).to(self.device)
