"""A published model that sees frames, with a trained pooling over time: its towers stay as they are.

The vector of a clip is that of the mean of its frames, plus what attention over the frames in their order adds; a gate
starts at zero, so training begins at the published model. Its folder has the published model's in `base/`.
Shapes: B clips, T frames, N frames of any clips, M sentences, E width of the space.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError
from surgvl.models.model_info import BASE
from surgvl.models.schema import Layers, checked
from surgvl.models.video_text import FrameText
from surgvl.models.vit import Block
from surgvl.video.clip import Side


@dataclass(frozen=True)
class TemporalFields:
    """`config.json` of such a model: see `Temporal`."""

    num_frames: Side
    depth: Layers


class TemporalPool(nn.Module):
    """Unit vectors of frames [B, T, E] -> vectors of clips [B, E], of unit norm.

    Args:
        dim: width E.
        num_frames: T.
        depth: transformer blocks.
        heads: attention heads, a divisor of E.
    """

    def __init__(self, dim: int, num_frames: int, depth: int = 1, heads: int = 4):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(num_frames, dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, frames: Tensor) -> Tensor:
        """Pool the frames of each clip."""
        # Unit vectors have entries of about 1 / sqrt(E); blocks expect about 1.
        x = frames * frames.shape[-1] ** 0.5 + self.position
        for block in self.blocks:
            x = block(x)
        return F.normalize(frames.mean(1) + self.gate * self.norm(x).mean(1), dim=-1)


class TemporalHead(nn.Module):
    """What is trained: the pooling, and the scale of the cosines."""

    def __init__(self, pool: TemporalPool, logit_scale: Tensor):
        super().__init__()
        self.pool, self.logit_scale = pool, nn.Parameter(logit_scale.detach().clone().reshape(1))


class Temporal(FrameText):
    """A frozen model that sees frames, and a pooling over time.

    Args:
        base: the published model.
        folder: its model folder, whose files a new folder shares.
        num_frames: frames of a clip, T.
        depth: transformer blocks of the pooling.
    """

    name: ClassVar[str] = "temporal"

    def __init__(self, base: FrameText, folder: Path, num_frames: int, depth: int = 1):
        super().__init__()
        self.base, self.folder, self.num_frames, self.depth = base.requires_grad_(False), folder, num_frames, depth
        self.dim, self.context_length = base.dim, base.context_length
        heads = next(heads for heads in (8, 4, 2, 1) if base.dim % heads == 0)
        self.head = TemporalHead(TemporalPool(base.dim, num_frames, depth, heads), base.logit_scale)

    @property
    def logit_scale(self) -> nn.Parameter:  # type: ignore[override]
        """Logarithm of the factor on cosines."""
        return self.head.logit_scale

    @property
    def saved(self) -> nn.Module:
        """What is trained; the base has a folder of its own."""
        return self.head

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the pooling."""
        return {"num_frames": self.num_frames, "depth": self.depth}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Load the model in `base/` of a model folder, and build the pooling.

        Raises:
            CheckpointError: there is none, or it does not see frames, or a field is invalid.
        """
        from surgvl.models.checkpoint import load_model

        assert folder is not None
        fields = checked(config, TemporalFields, folder / "config.json")
        base, _ = load_model(folder / BASE)
        if not isinstance(base, FrameText):
            raise CheckpointError(f"{folder / BASE} holds no model that sees frames: train it again (surgvl align)")
        return cls(base, folder / BASE, fields.num_frames, fields.depth)

    def save_tokenizer(self, folder: Path) -> None:
        """Write `base/`, which shares the disk with the original where the file system allows it."""
        if (folder / BASE).resolve() != self.folder.resolve():
            shutil.copytree(self.folder, folder / BASE, copy_function=_link, dirs_exist_ok=True)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, 3, H, W] -> the base's unit vectors, float32 [N, E]."""
        with torch.no_grad():
            return self.base.encode_frames(frames)

    def pool_frames(self, frames: Tensor) -> Tensor:
        """Unit vectors of the frames of clips [B, T, E] -> unit vectors of the clips [B, E]."""
        found: Tensor = self.head.pool(frames)
        return found

    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> the base's unit vectors, float32 [M, E]."""
        with torch.no_grad():
            return self.base.encode_text(sentences)

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        return self.base.left_out(sentences)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the pooling; the base stays in evaluation mode."""
        super().train(mode)
        self.base.eval()
        return self


def _link(source: str, target: str) -> None:
    """Share a file, or copy it to another file system."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
