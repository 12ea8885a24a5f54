"""The contract of video-text models: clips and sentences as unit vectors in one space, ours and published ones alike.

Shapes: B clips, T frames, H, W their sides in pixels, N frames of any clips, M sentences, E width of the space.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError
from surgvl.video.clip import Preprocess

Sees = Literal["frames", "clips"]


class VideoText(nn.Module, ABC):
    """A model that maps clips and sentences to unit vectors whose inner product is their similarity.

    A subclass in `surgvl.models.adapters` is a family of published models; its folder's `config.json` names it.

    Attributes:
        name: of the family.
        sees: whether it encodes single frames, of which a clip's vector is the normalised mean, or whole clips.
        dim: width E.
        logit_scale: logarithm of the factor on cosines, one value.
        context_length: tokens of the longest sentence.
    """

    model_type: ClassVar[str] = "surgvl_video_text"
    # Its name in vLLM, see surgvl.serve.
    architecture: ClassVar[str] = "SurgVLEmbeddingModel"
    name: ClassVar[str] = ""
    sees: ClassVar[Sees] = "clips"
    # Whether the weights lie in `tower/` (`surgvl.models.tower`), which `from_config` reads and `save_tower` writes.
    in_tower: ClassVar[bool] = False
    dim: int
    logit_scale: nn.Parameter

    @property
    def saved(self) -> nn.Module:
        """The module whose weights `model.safetensors` holds."""
        return self

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The argument of `from_config`, without tensors."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Build a model without weights from a model folder's `config.json` and its other files."""

    @classmethod
    def convert(cls, weights: Path, files: Path, arguments: dict[str, Any], folder: Path) -> tuple[Self, Preprocess]:
        """Read a model of this family from its files as they are published.

        Args:
            weights: the weights file.
            files: folder with the other files.
            arguments: of the registry's entry.
            folder: the new model folder, which gets all that `from_config` reads.

        Returns:
            The model with its weights, and its authors' preprocessing.

        Raises:
            CheckpointError: a weight is missing or unknown, or a file is missing.
        """
        raise CheckpointError(f"{cls.__name__} models are trained, not published: give their folder (surgvl align)")

    @abstractmethod
    def encode_video(self, video: Tensor) -> Tensor:
        """Clips uint8 [B, 3, T, H, W] -> unit vectors, float32 [B, E]."""

    @abstractmethod
    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> unit vectors, float32 [M, E]."""

    @abstractmethod
    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens of the sentences are truncated; empty for none."""

    @abstractmethod
    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer's files, where it has any, and others that `from_config` reads."""

    def save_tower(self, folder: Path) -> None:
        """Write `tower/` of a model folder, for a family whose weights lie there."""
        raise NotImplementedError(f"{type(self).__name__} has its weights in model.safetensors")


class FrameText(VideoText):
    """A model that sees single frames.

    The vector of a clip is the normalised mean of its frames' unit vectors.
    """

    sees: ClassVar[Sees] = "frames"

    @abstractmethod
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, 3, H, W] -> unit vectors, float32 [N, E]."""

    def encode_video(self, video: Tensor) -> Tensor:
        """Clips uint8 [B, 3, T, H, W] -> unit vectors, float32 [B, E]."""
        batch, _, count, height, width = video.shape
        frames = video.transpose(1, 2).reshape(batch * count, 3, height, width)
        return self.pool_frames(self.encode_frames(frames).view(batch, count, self.dim))

    def pool_frames(self, frames: Tensor) -> Tensor:
        """Unit vectors of the frames of clips [B, T, E] -> unit vectors of the clips [B, E]."""
        return F.normalize(frames.mean(1), dim=-1)


def normalised(frames: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Frames uint8 [N, 3, ...] -> the same by means and deviations [3] of channels in 0..1, in the dtype of these."""
    shape = (1, 3) + (1,) * (frames.ndim - 2)
    return ((frames.to(torch.float32) / 255 - mean.view(shape)) / std.view(shape)).to(mean.dtype)


def truncation(counts: list[int], context_length: int) -> str:
    """A line about sentences of more tokens than a text tower takes; empty if there is none.

    Args:
        counts: tokens of each sentence.
        context_length: tokens of the longest sentence.
    """
    over = [count - context_length for count in counts if count > context_length]
    if not over:
        return ""
    limit = f"the text tower's {context_length} tokens"
    if len(counts) == 1:
        return f"the sentence is longer than {limit}: {over[0]} tokens were left out at the end; shorten it"
    return (
        f"{len(over)} of {len(counts)} sentences are longer than {limit}: {sum(over)} tokens were left out at their "
        "ends; shorten them"
    )
