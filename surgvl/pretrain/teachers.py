"""Frozen image models as teachers: each with its own preprocessing, one summary and a grid of patch features.

Teachers by name: `timm:MODEL[@FILE]`, `hf:FOLDER_OR_ID`, `endossl:FILE[@raw]`, `surgvl:SOURCE`. The last is a video
encoder, ours or any that `models.checkpoints.convert.load_encoder` reads, on frames repeated to fill a tubelet.
Shapes: B frames, S input side of the teacher in pixels, (h, w) its grid, D its width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.models.checkpoints.convert import load_encoder, resize_encoder
from surgvl.models.image import RAW, EndoSSLTower, ImageTower, TimmTower, TransformersTower
from surgvl.models.vit import VideoViT


class EncoderTower(ImageTower):
    """A video encoder on single frames, each repeated to fill one tubelet; the summary is the mean of its tokens.

    Args:
        encoder: the encoder; it normalises pixels itself.
        size_px: input side S; None: the encoder's own.
    """

    def __init__(self, encoder: VideoViT, size_px: int | None = None):
        super().__init__(size_px or encoder.config.size_px, encoder.config.patch_px, encoder.dim, *RAW)
        self.encoder = resize_encoder(encoder, size_px, encoder.config.tubelet)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See `ImageTower`."""
        tokens = self.encoder(pixels[:, :, None].repeat(1, 1, self.encoder.config.tubelet, 1, 1))
        return tokens.mean(1), tokens.unflatten(1, self.grid)


class Teacher(nn.Module):
    """A frozen image model with its own preprocessing; always in evaluation mode and without gradients.

    Args:
        name: see `load_teacher`.
        tower: the model.
    """

    def __init__(self, name: str, tower: ImageTower):
        super().__init__()
        self.name, self.dim, self.size_px, self.grid = name, tower.dim, tower.size_px, tower.grid
        self.tower = tower
        self.register_buffer("mean", torch.tensor(tower.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tower.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode when the recipe is set to training mode."""
        super().train(False)
        return self

    def pixels(self, frames: Tensor) -> Tensor:
        """Resize and normalise frames [B, 3, H, W] in 0..255 -> [B, 3, S, S]."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        x = frames.to(mean.dtype)
        if tuple(x.shape[2:]) != (self.size_px, self.size_px):
            x = F.interpolate(x, (self.size_px, self.size_px), mode="bilinear", antialias=True, align_corners=False)
        return torch.addcmul(-mean / std, x, 1 / (255 * std))

    @torch.no_grad()
    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Encode frames.

        Args:
            frames: [B, 3, H, W], uint8 or float in 0..255, of any size.

        Returns:
            Summary float32 [B, D] and patch features float32 [B, h, w, D].
        """
        summary, patches = self.tower(self.pixels(frames))
        return summary.float(), patches.float()


def load_teacher(name: str, size_px: int | None = None) -> Teacher:
    """A teacher by name.

    Args:
        name: `timm:MODEL` (weights by timm), `timm:MODEL@FILE`, `hf:FOLDER_OR_ID`, `surgvl:SOURCE`, `endossl:FILE`
            (pixels normalised as SurgVISTA does) or `endossl:FILE@raw` (pixels in 0..255; see `models.image`).
        size_px: input side; None: the model's own.

    Raises:
        ConfigError: an unknown kind or model, or a side that is not a multiple of its patch side.
        CheckpointError: weights that cannot be loaded or do not fit.
    """
    kind, _, rest = name.partition(":")
    if kind == "timm" and rest:
        model, _, file = rest.partition("@")
        return Teacher(name, TimmTower(model, file or None, size_px))
    if kind == "hf" and rest:
        return Teacher(name, TransformersTower(rest, size_px))
    if kind == "endossl" and rest:
        return Teacher(name, EndoSSLTower(rest.removesuffix("@raw"), size_px, raw=rest.endswith("@raw")))
    if kind == "surgvl" and rest:
        return Teacher(name, EncoderTower(load_encoder(rest), size_px))
    raise ConfigError(
        f"the teacher must be timm:MODEL[@FILE], hf:FOLDER_OR_ID, endossl:FILE[@raw] or surgvl:FOLDER, got {name!r}"
    )
