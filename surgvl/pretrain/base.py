"""The contract of a pretraining recipe: a module with a loss and the encoder that it trains."""

import torch.nn.functional as F
from torch import Tensor

from surgvl.models.vit import VideoViT
from surgvl.train.objective import Objective


class Recipe(Objective):
    """A self-supervised objective over clips alone.

    A subclass lives in its own file in this folder; `name` is the file's name. `forward(batch)` takes `video`
    [B, 3, T, H, W] (uint8 or float in 0..255) and returns {"loss": scalar, ...}.
    """

    name = ""
    encoder: VideoViT

    def __init__(self, encoder: VideoViT):
        super().__init__()
        self.encoder = encoder

    def exports(self) -> dict[str, VideoViT]:
        """Encoders that a run can export, by their name in `surgvl pretrain --export`; the first is the default."""
        return {"online": self.encoder}


def gather(tokens: Tensor, ids: Tensor) -> Tensor:
    """Select tokens [B, N, D] by index int64 [B, K] -> [B, K, D]."""
    return tokens.gather(1, ids[:, :, None].expand(-1, -1, tokens.shape[2]))


def resize_grid(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinearly resize features on a grid, [F, h, w, D] -> [F, size[0], size[1], D]; a no-op at the same size."""
    if patches.shape[1:3] == size:
        return patches
    resized = F.interpolate(patches.permute(0, 3, 1, 2), size, mode="bilinear", antialias=False)
    return resized.permute(0, 2, 3, 1)
